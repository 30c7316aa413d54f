"""How many inputs are tried: hundreds in `make test`, many thousand in `make fuzz`."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

_SLOW = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.large_base_example]

# No deadline: on a busy machine one example may take seconds. The number of examples is the bound.
settings.register_profile("short", max_examples=200, deadline=None, suppress_health_check=_SLOW)
settings.register_profile("long", max_examples=20_000, deadline=None, suppress_health_check=_SLOW)


def pytest_configure(config: pytest.Config) -> None:
    """Try hundreds, and without a deadline, unless another profile is asked for."""
    if not config.getoption("--hypothesis-profile"):
        settings.load_profile("short")
