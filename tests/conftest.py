"""What holds for all tests."""

from __future__ import annotations

from tests.limits import pytest_runtest_setup, pytest_runtest_teardown

__all__ = ["pytest_runtest_setup", "pytest_runtest_teardown"]
