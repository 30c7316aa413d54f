"""The route that an object carries as an annotation, and who has written in it.

One annotation a service, `route.aviary.dev/<service>`, so that an object may carry the routes of
several. It is the fence: generation and owner are part of the route, and who writes it writes over
the resourceVersion that was read.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from adapters.errors import Retryable
from schemas.outside import NAME_MOST, cut, visible
from schemas.route import Route

MANAGER: Final = "aviary"
"""Our name among the field managers."""
_PREFIX: Final = "route.aviary.dev/"
_TOOLS: Final = {
    "argocd": "Argo CD: to leave weights to Aviary, its Application needs ignoreDifferences with "
    "managedFieldsManagers: [aviary], and the sync option RespectIgnoreDifferences=true",
    "kustomize-controller": "Flux: to leave weights to Aviary, the object needs the annotation "
    "kustomize.toolkit.fluxcd.io/ssa: IfNotPresent",
    "helm-controller": "Flux: to leave weights to Aviary, the HelmRelease needs "
    "driftDetection.ignore with the path /spec of the object",
}


def key(service: str) -> str:
    """The annotation with the route of a service."""
    return f"{_PREFIX}{service}"


def mark(route: Route) -> str:
    """A route as its annotation has it."""
    return route.model_dump_json(exclude_none=True)


def marked(found: Mapping[str, Any], service: str) -> Route | None:
    """The route that an object carries; None: it carries none of this service.

    Raises:
        Retryable: there is one but it is damaged: somebody must repair it.
    """
    text = (found["metadata"].get("annotations") or {}).get(key(service))
    if text is None:
        return None
    try:
        route = Route.model_validate_json(text)
    except ValidationError as error:
        why = "; ".join(one["msg"] for one in error.errors(include_input=False))
        raise Retryable(f"annotation {key(service)}: expected a route: {why}") from None
    if route.service != service:
        raise Retryable(f"annotation {key(service)}: holds a route of {route.service}")
    return route


def other_manager(found: Mapping[str, Any], path: tuple[str, ...]) -> str:
    """Who but Aviary wrote last below a field, as Kubernetes names him; empty: nobody it knows of.

    Args:
        found: an object.
        path: names of fields, such as `spec`, `rules`.
    """
    latest = ("", "")
    for entry in found["metadata"].get("managedFields") or ():
        if entry.get("manager") == MANAGER or entry.get("subresource"):
            continue
        fields = entry.get("fieldsV1") or {}
        for name in path:
            fields = fields.get(f"f:{name}")
            if fields is None:
                break
        else:
            latest = max(latest, (str(entry.get("time", "")), str(entry.get("manager", ""))))
    return visible(cut(latest[1], NAME_MOST))


def advice(manager: str) -> str:
    """What a tool that puts things back has to be told; empty where that is not known."""
    return next((text for name, text in _TOOLS.items() if manager.startswith(name)), "")
