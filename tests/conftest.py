"""What holds for all tests."""

from __future__ import annotations

from hypothesis import HealthCheck, settings

from tests.limits import pytest_runtest_setup, pytest_runtest_teardown

__all__ = ["pytest_runtest_setup", "pytest_runtest_teardown"]

# No deadline: on a busy machine one example may take seconds. The number of examples is the bound.
settings.register_profile("aviary", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("aviary")
