"""Documents that must not be larger than a bound: what is too long in them is cut until they fit.

Temporal refuses a blob over 2 MB and a message over 4 MB, Kafka a record over 1 MB, and each of
them for ever. So whatever a workflow hands on has a bound that is far below.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final, TypeVar

from pydantic_core import to_json

from schemas.base import Model
from schemas.outside import TEXT_MOST, cut

_M = TypeVar("_M", bound=Model)

_LEVELS: Final = ((TEXT_MOST, 200), (500, 60), (200, 24))
"""Longest text and most entries of a list or map, from what nobody misses on. The last one leaves
every model whole: none has as many fields, and no name that is checked is as long."""


def size_of(value: object) -> int:
    """Bytes of a value as JSON."""
    return len(to_json(value, inf_nan_mode="constants"))


def fitted(model: _M, most: int) -> _M:
    """The model, or one with its longest texts, lists and maps cut, of about `most` bytes."""
    if size_of(model) <= most:
        return model
    return type(model).model_validate(fit(model.model_dump(mode="json"), most))


def fit(document: Any, most: int) -> Any:
    """The same of plain JSON; the last level is what it is, even if that is more than `most`."""
    for longest, entries in _LEVELS:
        if size_of(document) <= most:
            break
        document = _pruned(document, longest, entries)
    return document


def _pruned(value: Any, longest: int, entries: int) -> Any:
    if isinstance(value, str):
        return cut(value, longest)
    if isinstance(value, Mapping):
        first = list(value.items())[:entries]
        return {cut(str(name), longest): _pruned(one, longest, entries) for name, one in first}
    if isinstance(value, Sequence):
        return [_pruned(one, longest, entries) for one in value[:entries]]
    return value
