"""What a team's template says, for whoever makes versions of it, or watches it."""

from __future__ import annotations

from typing import Final

from adapters.errors import Terminal
from adapters.kubernetes.resources import Json

TEMPLATE: Final = "aviary.dev/template"
"""The label of a template; its value is `true`."""
DEFAULT_CONTAINER: Final = "kubectl.kubernetes.io/default-container"
RESTARTED: Final = "kubectl.kubernetes.io/restartedAt"
HOW: Final = ("minReadySeconds", "progressDeadlineSeconds", "revisionHistoryLimit", "strategy")
"""What of a Deployment's spec a version has as well, beside its pods."""


def main_container(pods: Json, service: str, wished: str | None) -> Json:
    """The container whose image is the version's.

    Args:
        pods: the template of pods.
        service: whose it is.
        wished: the container's name, as the catalog has it.

    Raises:
        Terminal: there is none of that name, or several and none is the one.
    """
    found = (pods.get("spec") or {}).get("containers")
    every = [one for one in found or () if isinstance(one, dict)]
    default = ((pods.get("metadata") or {}).get("annotations") or {}).get(DEFAULT_CONTAINER)
    names = [str(one.get("name")) for one in every]
    wishes = (wished,) if wished else (default, service)
    name = next((one for one in wishes if one in names), None)
    if name is None and len(every) == 1 and not wished:
        return every[0]
    if name is None:
        what = wished or f"one called {service}, or container in the catalog"
        raise Terminal(
            f"{service}: container: expected {what}, the template has {', '.join(names)}"
        )
    return every[names.index(name)]
