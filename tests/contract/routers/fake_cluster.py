"""An API server in memory: what the routers ask of one, and nothing more."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

from adapters.kubernetes.errors import Conflicted, Missing, Refused
from adapters.kubernetes.resources import SERVICES, Json, Resource
from adapters.routers.kubernetes.backends import SLICES


class FakeCluster:
    """Objects of one namespace; `before_patch` is called before each write, as another writer."""

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Json] = {}
        self.before_patch: Callable[[], None] = lambda: None
        self.patches: list[Json] = []
        self.refused: set[str] = set()
        """Kinds, in the plural, of which no change is taken, as by a webhook."""
        self._version = 0

    def put(self, resource: Resource, name: str, manager: str = "team", **parts: Any) -> Json:
        """Create or replace an object, or parts of it, as somebody does."""
        self._version += 1
        there = self.objects.get((resource.plural, name), {})
        about = dict(there.get("metadata", {"name": name, "namespace": "shop", "generation": 1}))
        about |= parts.pop("metadata", {})
        about["resourceVersion"] = str(self._version)
        if "spec" in parts and there:
            about["generation"] += 1
        if "spec" in parts:
            entry = {
                "manager": manager,
                "time": f"2026-01-01T00:00:{self._version:02}Z",
                "fieldsV1": {"f:spec": {"f:rules": {}, "f:http": {}}},
            }
            fields = [one for one in about.get("managedFields", ()) if one["manager"] != manager]
            about["managedFields"] = [*fields, entry]
        whole = {**there, "kind": resource.kind, **parts, "metadata": about}
        self.objects[resource.plural, name] = copy.deepcopy(whole)
        return whole

    def put_service(self, name: str, *, ready: int = 1, known: int = 1, **metadata: Any) -> None:
        """A Service with instances."""
        self.put(SERVICES, name, spec={}, metadata=metadata)
        endpoints = [
            {"addresses": [f"10.0.0.{n}"], "conditions": {"ready": n < ready}} for n in range(known)
        ]
        labels = {"kubernetes.io/service-name": name}
        self.put(SLICES, f"{name}-1", metadata={"labels": labels}, endpoints=endpoints)

    async def namespace(self) -> str:
        return "shop"

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, part: str = ""
    ) -> Json | None:
        assert namespace == "shop"
        return copy.deepcopy(self.objects.get((resource.plural, name)))

    async def list_all(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> tuple[list[Json], str]:
        wanted = _selected(labels)
        found = [
            copy.deepcopy(one)
            for (plural, _), one in self.objects.items()
            if plural == resource.plural
            and all(one["metadata"].get("labels", {}).get(n) in v for n, v in wanted.items())
        ]
        return found, str(self._version)

    async def patch(
        self,
        resource: Resource,
        name: str,
        body: Json | list[Json],
        namespace: str | None = None,
        part: str = "",
        *,
        dry_run: bool = False,
    ) -> Json:
        assert isinstance(body, dict)
        self.before_patch()
        there = self.objects.get((resource.plural, name))
        if there is None:
            raise Missing(name)
        if resource.plural in self.refused:
            raise Refused(f"{resource.plural} {name}: a webhook does not want it", 422)
        if body["metadata"]["resourceVersion"] != there["metadata"]["resourceVersion"]:
            raise Conflicted(name)
        notes = dict(there["metadata"].get("annotations", {}))
        for key, value in body["metadata"]["annotations"].items():
            notes = (
                {**notes, key: value}
                if value is not None
                else {one: text for one, text in notes.items() if one != key}
            )
        spec = {**there["spec"], **body["spec"]}
        if dry_run:
            return there
        self.patches.append(body)
        parts: Json = {} if spec == there["spec"] else {"spec": spec}
        return copy.deepcopy(
            self.put(resource, name, "aviary", metadata={"annotations": notes}, **parts)
        )

    async def aclose(self) -> None:
        pass


def _selected(labels: str) -> dict[str, list[str]]:
    """Values by label, of `a=b,c=d` or of `a in (b,c)`."""
    if " in " in labels:
        name, _, values = labels.partition(" in ")
        return {name: values.strip("()").split(",")}
    pairs = (one.partition("=") for one in labels.split(","))
    return {name: [value] for name, _, value in pairs}
