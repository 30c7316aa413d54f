"""Where the versions of a slot are put up: on disk, so that they outlive a killed worker."""

from __future__ import annotations

import json
import pickle
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adapters.deployers.memory import deployer
from adapters.deployers.memory.platform import MemoryPlatform
from adapters.routers.envoy.router import EnvoyRouter
from adapters.routers.envoy.routes import route_in
from schemas.deployment import InstanceState
from schemas.route import Confirmation, Route

TAKES_S = 0.05
_KEPT = ("things", "obeyed", "wanted", "_port")


class DiskPlatform(MemoryPlatform):
    """A platform in memory that is written down after each step, and read when a worker begins.

    It notes what must never be: an instance that is told to end while the route names its version,
    and a route to a version that is not up.

    Args:
        folder: of the slot.
        routes: the file of the fleet's routes.
        ports: of servers that answer with a version, by version: its instances.
    """

    def __init__(self, folder: Path, routes: Path, ports: Mapping[str, Sequence[int]]) -> None:
        super().__init__(takes=TAKES_S)
        self._file = folder / "platform.pickle"
        self._wrong = folder / "wrong.txt"
        self._began = folder / "began.txt"
        self._routes = routes
        self._ports = ports
        if self._file.exists():
            self.__dict__.update(pickle.loads(self._file.read_bytes()))
        for thing in self.things.values():  # it goes on while no worker looks
            if thing.state is InstanceState.STARTING:
                thing.state = InstanceState.READY
        self.before, self.after = self._look, self._keep

    async def _look(self, step: str) -> None:
        what, _, name = step.partition(" ")
        labels = self.things[name].labels if what in {"drain", "kill"} else None
        if labels is None:
            return
        config = json.loads(self._routes.read_text())["resources"][0]
        route = route_in(config, labels.service)
        if route is not None and labels.version in route.versions:
            self.note(f"{step}: the route names {labels.version}")

    async def _keep(self, step: str) -> None:
        what, _, name = step.partition(" ")
        thing = self.things[name] if what == "make" else None
        if thing is not None and thing.labels is not None:
            ports = self._ports[thing.labels.version]
            thing.port = ports[int(name.rpartition("-")[2]) % len(ports)]
        fresh = self._file.with_suffix(".new")
        fresh.write_bytes(pickle.dumps({name: getattr(self, name) for name in _KEPT}))
        fresh.rename(self._file)

    def look_at(self, route: Route) -> None:
        """Whether each version with requests is up; those that a pipeline has put up are."""
        began = int(self._began.read_text()) if self._began.exists() else 0
        ready = {
            one.labels.key[1:]
            for one in self.things.values()
            if one.labels is not None and one.state is InstanceState.READY
        }
        for (_, service, version), obeyed in self.obeyed.items():
            before = obeyed.down and obeyed.generation < began  # by another release
            routed = service == route.service and version in route.versions
            if routed and not before and (service, version) not in ready:
                self.note(f"{route.text}: {version} is not up")

    def note(self, wrong: str) -> None:
        """Write down what must never be."""
        with self._wrong.open("a") as file:
            file.write(f"{wrong}\n")


def install(folder: Path, routes: Path, ports: Mapping[str, Sequence[int]]) -> None:
    """Have the deployer and the router of this worker use the slot's platform."""
    platform = DiskPlatform(folder, routes, ports)
    apply = EnvoyRouter.apply

    async def looked_at(self: EnvoyRouter, route: Route, over: Route | None = None) -> Confirmation:
        platform.look_at(route)
        return await apply(self, route, over)

    EnvoyRouter.apply = looked_at  # type: ignore[method-assign]
    setattr(deployer, "MemoryPlatform", lambda: platform)  # noqa: B010 - it is not exported


def kept(folder: Path) -> dict[str, Any]:
    """What is on the platform of a slot now; nothing where none was ever used."""
    file = folder / "platform.pickle"
    if not file.exists():
        return {"things": {}, "obeyed": {}, "wanted": {}}
    found: dict[str, Any] = pickle.loads(file.read_bytes())
    return found
