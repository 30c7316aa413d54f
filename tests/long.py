"""Long matrices of cases: `make test` or `make acceptance` runs some of them, `make chaos` all."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest


def one_in(every: int, cases: Iterable[tuple[Any, ...]]) -> list[Any]:
    """The cases as pytest's parameters, of which only each so many-th is run but by `make chaos`.

    The first is among them. A number that shares no factor with the lengths of a product's parts
    takes each part's values in turn.
    """
    return [
        pytest.param(*case, marks=[pytest.mark.long] if number % every else [])
        for number, case in enumerate(cases)
    ]
