"""A package beside Aviary, as `pip` would install it: a module, and a dist-info folder."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from aviary.kinds import registry

ROUTER = '''
from pydantic import Field

from adapters.connections import Connection
from adapters.kinds import RouterKind
from adapters.routers.memory.router import MemoryRouter
from adapters.secrets import Secret
from schemas.base import Model
from schemas.capabilities import Capabilities, StickyBy, TotalGrid
from schemas.judging import RatioMetric


class Options(Model):
    """What a catalog says."""

    backend: str = Field(description="Name of the backend.")
    hosts: tuple[str, ...] = ()
    weight_limit: int = Field(default=10, ge=1, le=100)


class Platform(Connection):
    connection_kind = "acme"

    url: str
    token: Secret | None = None


class Router(MemoryRouter):
    def __init__(self, options, connection):
        super().__init__()
        self.options, self.connection = options, connection
        if options.backend == "nowhere":
            token = connection.token.read() if connection else "none"
            raise ValueError(f"no backend nowhere for token {token}")


ACME = RouterKind(
    name="acme",
    text="A router of somebody else's.",
    options=Options,
    connection=Platform,
    make=lambda options, connection, shared: Router(options, connection),
    capabilities=Capabilities(weights=TotalGrid(total=10_000), sticky=(StickyBy.COOKIE,)),
    metrics=(RatioMetric(name="errors"),),
    pack="haproxy",
)
'''
"""A module with a kind of router that has everything."""


class Packages:
    """Installs packages for one test."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        monkeypatch.syspath_prepend(str(folder))
        self._modules: list[str] = []

    def install(
        self, name: str, code: str, points: Mapping[str, str], group: str = "aviary.routers"
    ) -> None:
        """Install a package of one module; `points` are its entry points, by name."""
        (self._folder / f"{name}.py").write_text(code)
        about = self._folder / f"{name}-1.0.dist-info"
        about.mkdir()
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = "\n".join(f"{point} = {value}" for point, value in points.items())
        (about / "entry_points.txt").write_text(f"[{group}]\n{lines}\n")
        self._modules.append(name)
        registry.cache_clear()

    def acme(self) -> None:
        """Install the kind `acme`."""
        self.install("our_acme", ROUTER, {"acme": "our_acme:ACME"})

    def forget(self) -> None:
        """Take them back out of this process."""
        for name in self._modules:
            sys.modules.pop(name, None)
        registry.cache_clear()
