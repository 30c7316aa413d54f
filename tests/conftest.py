"""What holds for all tests."""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest
import structlog
from hypothesis import HealthCheck, settings

from aviary.logs import configure_logs
from tests.engines.names import CLUSTER, DEVELOPMENT
from tests.groups import ACCEPTANCE, SPLIT, Part, is_below
from tests.limits import pytest_runtest_setup, pytest_runtest_teardown

__all__ = ["pytest_runtest_setup", "pytest_runtest_teardown"]

# No deadline: on a busy machine one example may take seconds. The number of examples is the bound.
settings.register_profile("aviary", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aviary")


def pytest_addoption(parser: pytest.Parser) -> None:
    """Which Temporal the tests run on."""
    parser.addoption("--engine", choices=(DEVELOPMENT, CLUSTER), default=DEVELOPMENT)


@pytest.hookimpl(trylast=True)
def pytest_itemcollected(item: pytest.Item) -> None:
    """Mark what is in the second part because its file is."""
    if is_below(item.path, ACCEPTANCE):
        item.add_marker(Part.ACCEPTANCE)
    elif item.get_closest_marker(Part.ACCEPTANCE) and not is_below(item.path, SPLIT):
        raise pytest.UsageError(f"{item.nodeid} would be run by nobody: see SPLIT in tests/groups")


@pytest.fixture(scope="session")
def engine(request: pytest.FixtureRequest) -> str:
    """Which Temporal the tests run on."""
    return str(request.config.getoption("--engine"))


@pytest.fixture
def logs(capsys: pytest.CaptureFixture[str]) -> Iterator[pytest.CaptureFixture[str]]:
    """Everything that a worker would write, at its most talkative."""
    root = logging.getLogger()
    level = root.level
    configure_logs(level="debug", fmt="json")
    mine = root.handlers[:]
    yield capsys
    root.handlers[:] = [handler for handler in root.handlers if handler not in mine]
    root.setLevel(level)
    structlog.reset_defaults()
