"""What the suites of all ports share: that a package of its own can run them."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.contract.outside import OUTSIDE, add_option, outside


def pytest_addoption(parser: pytest.Parser) -> None:
    """Take the subject of a package of its own."""
    add_option(parser)


@pytest.fixture
async def outside_subject(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """The subject that the command line names."""
    made = outside(request.config)
    assert made is not None
    async with made() as running:
        yield running


@pytest.fixture
def outside_deployer_subject(outside_subject: Any) -> Any:
    """The same, where deployers are under test."""
    return outside_subject


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """With a subject that was named, leave what is not run with it."""
    if outside(config) is None:
        return
    with_it = [one for one in items if OUTSIDE in _params(one)]
    config.hook.pytest_deselected(items=[one for one in items if one not in set(with_it)])
    items[:] = with_it


def _params(item: pytest.Item) -> list[Any]:
    callspec = getattr(item, "callspec", None)
    return [] if callspec is None else list(callspec.params.values())
