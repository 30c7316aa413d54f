"""Search attributes in Temporal: registered once, by whoever starts releases."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

import structlog
from temporalio.api.enums.v1 import IndexedValueType
from temporalio.api.operatorservice.v1 import (
    AddSearchAttributesRequest,
    ListSearchAttributesRequest,
)
from temporalio.client import Client
from temporalio.service import RPCError, RPCStatusCode

from adapters.errors import Retryable
from schemas import attributes

_KEYWORD: Final = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD
_LIST: Final = IndexedValueType.INDEXED_VALUE_TYPE_KEYWORD_LIST
WANTED: Final = {
    **dict.fromkeys(attributes.KEYWORDS, _KEYWORD),
    **dict.fromkeys(attributes.KEYWORD_LISTS, _LIST),
}
_AWAY: Final = {RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED}
_RPC: Final = timedelta(seconds=10)
_log = structlog.get_logger("aviary.attributes")


async def ensure_attributes(client: Client) -> bool:
    """See to it that this Temporal has Aviary's search attributes.

    Returns:
        Whether it has them all, of the right types. When it has not and they may not be added, the
        log says which, and releases go without: they are found by their ids only.

    Raises:
        Retryable: Temporal could not be asked.
    """
    try:
        missing = await _missing(client)
        if missing:
            await _add(client, missing)
            missing = await _missing(client)
    except RPCError as error:
        if error.status in _AWAY:
            raise Retryable(f"Temporal: {error.status.name}: {error.message}") from error
        _log.warning(
            "search_attributes_refused",
            error=f"{error.status.name}: {error.message}",
            wanted=_as_text(WANTED),
            follows="lists in the Temporal UI can't be filtered by service, state or cause",
        )
        return False
    if missing:
        _log.warning("search_attributes_missing", missing=_as_text(missing))
    return not missing


async def _missing(client: Client) -> dict[str, IndexedValueType.ValueType]:
    """Those that are not there, or are of another type."""
    answer = await client.operator_service.list_search_attributes(
        ListSearchAttributesRequest(namespace=client.namespace), timeout=_RPC
    )
    there = answer.custom_attributes
    return {name: kind for name, kind in WANTED.items() if there.get(name) != kind}


async def _add(client: Client, missing: dict[str, IndexedValueType.ValueType]) -> None:
    request = AddSearchAttributesRequest(namespace=client.namespace, search_attributes=missing)
    try:
        await client.operator_service.add_search_attributes(request, timeout=_RPC)
    except RPCError as error:
        if error.status is not RPCStatusCode.ALREADY_EXISTS:
            raise
    else:
        _log.info("search_attributes_added", added=sorted(missing))


def _as_text(wanted: dict[str, IndexedValueType.ValueType]) -> str:
    """`AviaryState=Keyword, …`: what `temporal operator search-attribute create` is told."""
    kinds = {_KEYWORD: "Keyword", _LIST: "KeywordList"}
    return ", ".join(f"{name}={kinds[kind]}" for name, kind in sorted(wanted.items()))
