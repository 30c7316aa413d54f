"""Descriptions: what a package says of the kind of router, metrics source, notifier or hook it has.

One value each, for the one table of `aviary.kinds`, or for an entry point of a package of its own.
Importing a description imports no client library: what is heavy is imported as one is made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Protocol, TypeVar

from adapters.connections import Connection
from adapters.packs import Pack
from adapters.ports import Deployer, HookCaller, MetricsSource, Notifier, Router
from schemas.base import Model
from schemas.capabilities import Capabilities
from schemas.catalog_check import Finding
from schemas.deployment import WantedVersion
from schemas.judging import MetricSpec

if TYPE_CHECKING:
    import httpx

    from adapters.links import Links

O = TypeVar("O", bound=Model)  # noqa: E741 - options
C = TypeVar("C", bound=Connection)


class NoOptions(Model):
    """A kind that needs to be told nothing."""


@dataclass(frozen=True, kw_only=True)
class Kind(Generic[C]):
    """What every description says."""

    name: str
    """As a catalog or the settings write it."""
    text: str
    """What it is, in a line of the documentation."""
    connection: type[Connection] | None = None
    """What reaches its platform; None: it takes no connection."""
    needs_connection: bool = False


@dataclass(frozen=True)
class Shared:
    """What the adapters of one process share; its owner closes it."""

    http: httpx.AsyncClient


def _fits(_: Any, __: Any) -> Iterable[Finding]:
    return ()


@dataclass(frozen=True, kw_only=True)
class CatalogKind(Kind[C], Generic[O, C]):
    """A kind that catalogs choose by name.

    Secrets are fields of its connection and never of its options, which stand in catalogs, plans
    and histories.
    """

    options: type[Model] = NoOptions
    """What a catalog may write beside `kind`; unknown fields must be errors of it."""
    check: Callable[[O, C | None], Iterable[Finding]] = _fits
    """What the fields can't say of themselves; paths begin beside `kind`."""


@dataclass(frozen=True, kw_only=True)
class RouterKind(CatalogKind[O, C]):
    """A kind of router."""

    make: Callable[[O, C | None, Shared], Router]
    """Makes a router. Raises ValueError or an adapter's error where what it is told is wrong."""
    capabilities: Capabilities
    """What it can do with any options."""
    narrowed: Callable[[O], Capabilities] | None = None
    """What it can do with these options, where they change that."""
    metrics: tuple[MetricSpec, ...] | None = None
    """Of services whose catalog names none; None: such a service can't be judged."""
    pack: str | Pack | None = None
    """Of judges that name none: one of Aviary's, or its own, which then bears the kind's name."""

    packed: Callable[[O], str | None] | None = None
    """Name of the pack with these options, where they change that; without one, `metrics` are none
    of theirs."""

    def can(self, options: O) -> Capabilities:
        """What it can do with these options."""
        return self.capabilities if self.narrowed is None else self.narrowed(options)

    def pack_of(self, options: O) -> str | Pack | None:
        """The pack of judges that name none, with these options."""
        return self.pack if self.packed is None else self.packed(options)


@dataclass(frozen=True, kw_only=True)
class DeployerKind(CatalogKind[O, C]):
    """A kind of deployer: one is made for each connection, and is told the recipe of each version.

    Its options are the recipe.
    """

    make: Callable[[C | None, str, Shared], Deployer]
    """Makes a deployer of its connection and its owner: it touches what bears that name alone."""
    image: bool = False
    """Whether a version is an image, which a deploy event may name."""
    scales: bool = True
    """Whether a version may have more than one instance."""
    endpoints: bool = True
    """Whether the router has to be told where the instances are; else it finds them by itself."""
    check_version: Callable[[O, WantedVersion], Iterable[Finding]] = _fits
    """What of a version can't be done, as far as that is known before anything runs: an image
    that neither the recipe nor the event names, more instances than there are ports."""


@dataclass(frozen=True, kw_only=True)
class HookKind(CatalogKind[O, C]):
    """A kind of hook: one way to ask, or tell, another system."""

    make: Callable[[O, C | None, Shared], HookCaller]
    """Makes a caller. Raises ValueError or an adapter's error where what it is told is wrong."""


class Source(MetricsSource, Protocol):
    """A metrics source that holds connections."""

    def close(self) -> None:
        """Let them go."""


@dataclass(frozen=True, kw_only=True)
class MetricsKind(Kind[C]):
    """A kind of metrics source."""

    make: Callable[[C, float], Source]
    """Makes a source of its connection, and the longest wait in seconds."""
    joins: bool = False
    """Whether queries may be joined with PromQL's `or`, many in one request."""


@dataclass(frozen=True, kw_only=True)
class NotifierKind(Kind[C]):
    """A kind of notifier: one channel, or one address of a channel."""

    make: Callable[[str, C, Links], Notifier]
    """Makes a notifier of the channel's name, its connection and the pages to link to."""
