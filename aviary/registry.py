"""Kinds of adapters by name: those of this repository and those of installed packages, alike.

A package brings a kind as an entry point whose object is the kind's description (`adapters.kinds`):

    [project.entry-points."aviary.routers"]
    acme = "our_package:ACME"

It is imported when a catalog, the settings or `aviary routers` name it. One that can't be imported,
or whose description is refused, is told where it is named, and stands in nobody else's way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from typing import Any, Generic, TypeVar

from adapters.connections import Connection
from adapters.kinds import (
    DeployerKind,
    HookKind,
    Kind,
    MetricsKind,
    NotifierKind,
    RouterKind,
)
from adapters.packs import Pack, Packs
from aviary.descriptions import DescriptionError, check_kind
from schemas.outside import one_line

K = TypeVar("K", bound=Kind[Any])


class BrokenKindError(Exception):
    """An installed kind can't be used; the text says why, and where it comes from."""


@dataclass(frozen=True)
class Broken:
    """An installed kind that can't be used."""

    name: str
    why: str


class Kinds(Generic[K]):
    """The kinds of one port, by name.

    Args:
        group: the entry point group of installed packages.
        of: the class of their descriptions.
        built_in: those of this repository, which no package may replace.
        connections: by name, of all ports; each name is one model.
    """

    def __init__(
        self,
        group: str,
        of: type[K],
        built_in: Sequence[K],
        connections: dict[str, type[Connection]],
    ) -> None:
        self.group = group
        self._of = of
        self._connections = connections
        self._known: dict[str, K] = {}
        for kind in built_in:
            self._check(kind)
            self._known[kind.name] = kind
        self._installed: dict[str, list[EntryPoint]] = {}
        for point in entry_points(group=group):
            self._installed.setdefault(point.name, []).append(point)
        taken = self._known.keys() & self._installed.keys()
        self._broken = dict.fromkeys(taken, "the name of a kind of Aviary's own")
        self._own = frozenset(self._known)

    @property
    def names(self) -> tuple[str, ...]:
        """All kinds by name, whether or not they can be used."""
        return tuple(sorted(self._own | self._installed.keys()))

    def get(self, name: str) -> K:
        """The description of a kind.

        Raises:
            KeyError: there is none of this name.
            BrokenKindError: it is installed, and can't be used.
        """
        if name in self._known:
            return self._known[name]
        points = self._installed[name]
        if name not in self._broken:
            try:
                self._known[name] = self._load(name, points)
            except BrokenKindError as error:
                self._broken[name] = str(error)
            else:
                return self._known[name]
        raise BrokenKindError(self._broken[name])

    def every(self) -> Iterator[K | Broken]:
        """All of them, in the order of their names; those that can't be used say why."""
        for name in self.names:
            try:
                yield self.get(name)
            except BrokenKindError as error:
                yield Broken(name, str(error))
        for name in sorted(self._own & self._broken.keys()):
            yield Broken(name, f"{_where(self._installed[name])}: {self._broken[name]}")

    def usable(self) -> Iterator[K]:
        """Those that can be used."""
        return (kind for kind in self.every() if not isinstance(kind, Broken))

    def _load(self, name: str, points: Sequence[EntryPoint]) -> K:
        where = _where(points)
        if len(points) > 1:
            raise BrokenKindError(f"{where}: more than one kind of this name is installed")
        try:
            kind = points[0].load()
        except Exception as error:  # other people's code, which may raise anything
            why = one_line(f"{type(error).__name__}: {error}")
            raise BrokenKindError(f"{where}: {why}") from error
        if not isinstance(kind, self._of):
            raise BrokenKindError(f"{where}: expected a {self._of.__name__}, got {type(kind)}")
        if kind.name != name:
            raise BrokenKindError(f"{where}: expected the name {name} in it, got {kind.name!r}")
        try:
            self._check(kind)
        except DescriptionError as error:
            raise BrokenKindError(f"{where}: {error}") from None
        return kind

    def _check(self, kind: K) -> None:
        check_kind(kind)
        model = kind.connection
        if model is not None:
            name = model.connection_kind
            if self._connections.setdefault(name, model) is not model:
                raise DescriptionError(f"connection: {name!r} is the name of another model")


def _where(points: Sequence[EntryPoint]) -> str:
    return ", ".join(point.value for point in points)


class Registry:
    """Every kind of every port. A new port is a field here, and its table in `aviary.kinds`."""

    def __init__(
        self,
        routers: Sequence[RouterKind[Any, Any]],
        metrics: Sequence[MetricsKind[Any]],
        notifiers: Sequence[NotifierKind[Any]],
        deployers: Sequence[DeployerKind[Any, Any]] = (),
        hooks: Sequence[HookKind[Any, Any]] = (),
    ) -> None:
        """Take the kinds of this repository; those of installed packages are found."""
        known: dict[str, type[Connection]] = {}
        self.routers: Kinds[RouterKind[Any, Any]] = Kinds(
            "aviary.routers", RouterKind, routers, known
        )
        self.metrics: Kinds[MetricsKind[Any]] = Kinds("aviary.metrics", MetricsKind, metrics, known)
        self.notifiers: Kinds[NotifierKind[Any]] = Kinds(
            "aviary.notifiers", NotifierKind, notifiers, known
        )
        self.deployers: Kinds[DeployerKind[Any, Any]] = Kinds(
            "aviary.deployers", DeployerKind, deployers, known
        )
        self.hooks: Kinds[HookKind[Any, Any]] = Kinds("aviary.hooks", HookKind, hooks, known)

    def packs(self) -> Packs:
        """Aviary's metric packs, and those that kinds of routers bring along."""
        return Packs(
            {one.name: one.pack for one in self.routers.usable() if isinstance(one.pack, Pack)}
        )

    def broken(self) -> Iterator[Broken]:
        """What is installed, of any port, and can't be used."""
        return (one for kinds in self._ports() for one in kinds.every() if isinstance(one, Broken))

    def connections(self) -> Mapping[str, type[Connection]]:
        """The kinds of connections that there are, by name."""
        models = (kind.connection for kinds in self._ports() for kind in kinds.usable())
        return {model.connection_kind: model for model in models if model is not None}

    def _ports(self) -> tuple[Kinds[Any], ...]:
        return (self.routers, self.metrics, self.notifiers, self.deployers, self.hooks)
