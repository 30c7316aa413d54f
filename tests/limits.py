"""The limit of a test holds for its teardown too, when it has failed already.

A test has two limits (`pyproject.toml`): `timeout` raises in it, and `faulthandler_timeout`, some
time later, ends the run with the stacks of all threads, wherever it hangs. Both plugins take a
failure for the beginning of a debugger's session and switch off for the rest of that test: a
teardown that hangs after a failure, which is when teardowns hang, then has no limit at all.
"""

from __future__ import annotations

import faulthandler
import time
from collections.abc import Generator

import pytest
from _pytest.faulthandler import fault_handler_stderr_fd_key

_BEGAN = pytest.StashKey[float]()
_LEAST_S = 1.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    """Know when it began."""
    item.stash[_BEGAN] = time.monotonic()
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    """Have the second limit hold again, for what is left of it."""
    limit = float(item.config.getini("faulthandler_timeout") or 0)
    if limit > 0 and not item.config.getoption("usepdb"):
        left = limit - (time.monotonic() - item.stash[_BEGAN])
        faulthandler.dump_traceback_later(
            max(left, _LEAST_S),
            file=item.config.stash[fault_handler_stderr_fd_key],
            exit=item.config.getini("faulthandler_exit_on_timeout"),
        )
    return (yield)
