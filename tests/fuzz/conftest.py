"""How much is tried: 200 inputs a target in `make test`, and a minute of them in `make fuzz`."""

from __future__ import annotations

import time
from typing import Final

import pytest
from hypothesis import HealthCheck, settings

LONG: Final = "long"
TARGET_S: Final = 60.0
BLOCK: Final = 20
"""Inputs between two looks at the clock."""
_TRIED: Final = pytest.StashKey[dict[str, int]]()
_SLOW: Final = [
    HealthCheck.too_slow,
    HealthCheck.data_too_large,
    HealthCheck.large_base_example,
]

# No deadline: on a busy machine one example may take seconds. The number of examples is the bound,
# or the time of a target. Blocks that are not random would all be the same.
settings.register_profile("short", max_examples=200, deadline=None, suppress_health_check=_SLOW)
settings.register_profile(
    LONG, max_examples=BLOCK, deadline=None, suppress_health_check=_SLOW, derandomize=False
)


def pytest_addoption(parser: pytest.Parser) -> None:
    """How long `make fuzz` tries."""
    text = "seconds that each target of tests/fuzz is tried for, with --hypothesis-profile=long"
    parser.addoption("--fuzz-seconds", type=float, default=TARGET_S, help=text)


def pytest_configure(config: pytest.Config) -> None:
    """Try hundreds, and without a deadline, unless another profile is asked for."""
    config.stash[_TRIED] = {}
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("short")


def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> bool | None:
    """Try block after block of inputs until the time of the target is over."""
    config = pyfuncitem.config
    if config.getoption("--hypothesis-profile") != LONG:
        return None
    ends = time.monotonic() + config.getoption("--fuzz-seconds", TARGET_S)
    tried = config.stash[_TRIED]
    while time.monotonic() < ends:
        pyfuncitem.obj()
        tried[pyfuncitem.nodeid] = tried.get(pyfuncitem.nodeid, 0) + BLOCK
    return True


def pytest_terminal_summary(
    terminalreporter: pytest.TerminalReporter, config: pytest.Config
) -> None:
    """Say how many were tried, as it depends on the machine."""
    for target, count in config.stash[_TRIED].items():
        terminalreporter.write_line(f"{count:9,} inputs: {target}")
