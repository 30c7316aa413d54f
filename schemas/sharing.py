"""Writes the services of a plan small: what many have in common stands there once.

Temporal takes 2 MB in one piece. A release of few services is written as it is, for people to read
in Temporal's UI; of more, routers, strategies and their stages, judges, metrics and alert policies
are written once each, and services refer to them by number; what is large even so is compressed.
Read again, those that have something in common share one object.
"""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from collections.abc import Mapping
from typing import Any, Final

from pydantic import TypeAdapter

from schemas.alert_policy import AlertPolicy
from schemas.base import Model
from schemas.capabilities import Capabilities
from schemas.deploy_spec import DeploySpec
from schemas.judging import METRIC, JudgeSpec
from schemas.router_spec import RouterSpec
from schemas.stages import Stage
from schemas.strategy import Strategy

FEW: Final = 10
"""Services of a plan that is written as it is."""
_LARGE: Final = 500_000
"""Bytes from which on a plan is compressed."""
_MOST: Final = 100_000_000
"""Bytes that a compressed plan may become again."""
_SECTIONS: Final[Mapping[str, TypeAdapter[Any]]] = {
    "router": TypeAdapter(RouterSpec),
    "capabilities": TypeAdapter(Capabilities),
    "strategy_name": TypeAdapter(str),
    "strategy": TypeAdapter(Strategy),
    "stages": TypeAdapter(tuple[Stage, ...]),
    "judge": TypeAdapter(JudgeSpec),
    "metrics": METRIC,
    "alerts": TypeAdapter(AlertPolicy),
    "service_labels": TypeAdapter(tuple[str, ...]),
    "deploy": TypeAdapter(DeploySpec | None),
}


class _Table:
    """What was written already, and under which number."""

    def __init__(self, adapter: TypeAdapter[Any]) -> None:
        self.rows: list[Any] = []
        self._adapter = adapter
        self._by_id: dict[int, int] = {}
        self._by_text: dict[str, int] = {}

    def number(self, value: Any) -> int:
        known = self._by_id.get(id(value))
        if known is None:
            row = self._adapter.dump_python(value, mode="json")
            known = self._by_text.setdefault(json.dumps(row, sort_keys=True), len(self.rows))
            if known == len(self.rows):
                self.rows.append(row)
            self._by_id[id(value)] = known
        return known


def share(services: Mapping[str, Model]) -> dict[str, Any]:
    """The field `services` of a plan and what goes with it, as plain data."""
    tables = {name: _Table(adapter) for name, adapter in _SECTIONS.items()}
    rows = {}
    for name, service in services.items():
        row = service.model_dump(
            mode="json", exclude={"service", *_SECTIONS}, exclude_defaults=True
        )
        for section, table in tables.items():
            value = getattr(service, section)
            many = section == "metrics"
            row[section] = [table.number(one) for one in value] if many else table.number(value)
        rows[name] = row
    written = {"services": rows, "shared": {name: table.rows for name, table in tables.items()}}
    text = json.dumps(written, ensure_ascii=False, separators=(",", ":")).encode()
    if len(text) < _LARGE:
        return written
    return {"services": {}, "packed": b64encode(zlib.compress(text)).decode()}


def unshare(plan: Mapping[str, Any]) -> dict[str, Any]:
    """A plan as `share` wrote it, with its services as they were.

    Raises:
        ValueError: it is not as `share` writes.
    """
    plain = dict(plan)
    if "packed" in plain:
        plain |= _unpacked(plain.pop("packed"))
    if "shared" not in plain:
        return plain
    shared, services = plain.pop("shared"), plain.get("services")
    if not isinstance(shared, dict) or not isinstance(services, dict):
        raise ValueError("expected shared and services to be mappings")  # noqa: TRY004 - pydantic's
    read = {
        section: [adapter.validate_python(row) for row in shared.get(section, ())]
        for section, adapter in _SECTIONS.items()
    }
    plain["services"] = {name: _whole(name, row, read) for name, row in services.items()}
    return plain


def _whole(name: str, row: Any, read: Mapping[str, list[Any]]) -> dict[str, Any]:
    try:
        return {
            "service": name,
            **row,
            **{
                section: [rows[number] for number in row[section]]
                if section == "metrics"
                else rows[row[section]]
                for section, rows in read.items()
            },
        }
    except (KeyError, IndexError, TypeError) as error:
        text = f"services.{name}: expected numbers of what is shared ({error!r})"
        raise ValueError(text) from error


def _unpacked(packed: Any) -> dict[str, Any]:
    try:
        reader = zlib.decompressobj()
        text = reader.decompress(b64decode(packed, validate=True), _MOST)
        if not reader.eof:
            raise ValueError(f"expected a whole of at most {_MOST:,} bytes")
        read = json.loads(text)
        return {"services": read["services"], "shared": read["shared"]}
    except (zlib.error, TypeError, KeyError, RecursionError) as error:
        raise ValueError(f"packed: expected what `share` writes ({error})") from error
