"""A release as plain data, for whoever reads JSON."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from schemas.release import CanaryStatus, ReleaseStatus


def status_as_data(status: ReleaseStatus, canaries: Mapping[str, CanaryStatus]) -> dict[str, Any]:
    """A release as plain data; `canaries` holds the running ones' own answers."""
    return {
        **status.model_dump(mode="json"),
        "canaries": {name: canary.model_dump(mode="json") for name, canary in canaries.items()},
    }
