"""The router of docs/contributing.md, as it is written there, and the proxy that it is for."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

from adapters.kinds import RouterKind
from schemas.route import Route
from tests.guide import load

_PAGE = load("adapters/routers/folder.py")
FolderRouter: Callable[[str], Any] = _PAGE.FolderRouter
FOLDER: RouterKind[Any, Any] = _PAGE.FOLDER


class FolderProxy:
    """Reads `<service>.json` for each request, and writes what it counts to `<service>.count`."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._draw = random.Random(7)

    def add(self, service: str, *versions: str) -> None:
        """Put up a service, all on its first version."""
        self._counts(service).write_text(json.dumps(dict.fromkeys(versions, 0)))
        self.write(Route.split(service, versions[0]))

    def write(self, route: Route) -> None:
        """Change a route with an editor."""
        (self._folder / f"{route.service}.json").write_text(route.model_dump_json())

    def send(self, service: str) -> str:
        """One request: the version that answers it."""
        route = json.loads((self._folder / f"{service}.json").read_text())
        versions = [arm["version"] for arm in route["arms"]]
        (version,) = self._draw.choices(versions, [arm["weight"] for arm in route["arms"]])
        counts = json.loads(self._counts(service).read_text())
        counts[version] += 1
        self._counts(service).write_text(json.dumps(counts))
        return str(version)

    def _counts(self, service: str) -> Path:
        return self._folder / f"{service}.count"
