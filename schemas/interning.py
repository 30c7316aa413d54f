"""One object for equal values: what many runs in one process have in common is kept once."""

from __future__ import annotations

from collections.abc import Hashable
from functools import lru_cache
from typing import Any, Final, TypeVar

_MOST: Final = 1024
"""Values that are known at a time; the one that was not asked for the longest is forgotten."""

_T = TypeVar("_T")


def interned(value: _T) -> _T:
    """The value itself, or an equal one that was there before; for frozen values only."""
    known: _T = _known(value)
    return known


@lru_cache(maxsize=_MOST, typed=True)
def _known(value: Hashable) -> Any:
    return value
