"""Routers, deployers and hooks of a catalog held against their kinds; routers made of that."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from functools import cache, cached_property, partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, NamedTuple, TypeVar

from pydantic import (
    BaseModel,
    BeforeValidator,
    Field,
    JsonValue,
    TypeAdapter,
    ValidationError,
    ValidationInfo,
    create_model,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from adapters.connections import Connection
from adapters.errors import Terminal
from adapters.kinds import CatalogKind, DeployerKind, HookKind, RouterKind, Shared
from adapters.packs import Pack
from adapters.ports import LateCounts, MetricsSource, Part, Routing
from adapters.routers.several.router import several
from aviary.catalog_schema import catalog_schema
from aviary.making import make
from aviary.registry import BrokenKindError, Kinds, Registry
from schemas.base import Model
from schemas.capabilities import Counting
from schemas.catalog_check import MISSING, Finding, listed, nearest
from schemas.deploy_spec import DeployerFacts, DeployTerms
from schemas.deployment import WantedVersion
from schemas.joint_capabilities import joint
from schemas.outside import hide_user
from schemas.router_spec import (
    MOST_ROUTERS,
    SEVERAL,
    ConnectionName,
    RouterFacts,
    RouterSpec,
    Several,
)

if TYPE_CHECKING:
    from activities.metric_counts import MetricCounts

_AnyKind = CatalogKind[Any, Any]
_K = TypeVar("_K", RouterKind[Any, Any], DeployerKind[Any, Any], HookKind[Any, Any])

_ONE: Final = "one_of_several"
"""The key, in the context of a validation, of what checks one router of a list."""


def _check_one(value: Any, info: ValidationInfo) -> Any:
    return (info.context or {})[_ONE](value)


_Each = Annotated[
    tuple[Annotated[dict[str, JsonValue], BeforeValidator(_check_one)], ...],
    Field(min_length=2, max_length=MOST_ROUTERS),
]
_EACH: Final = TypeAdapter[tuple[dict[str, JsonValue], ...]](_Each)


class _SeveralRouters(Model):
    """Several routers for one service, as a mapping: beside the list, whose metrics judge."""

    kind: Literal["several"]
    routers: _Each
    judged_by: int | None = Field(default=None, ge=1, le=MOST_ROUTERS)


NO_CONNECTIONS: Mapping[str, Connection] = MappingProxyType({})


class CatalogKinds:
    """The kinds and the connections of a process, as `schemas` asks for them.

    Args:
        registry: the kinds that there are.
        connections: of the settings, by name.
    """

    def __init__(
        self, registry: Registry, connections: Mapping[str, Connection] = NO_CONNECTIONS
    ) -> None:
        self._registry = registry
        self._connections = connections
        self._documents = _documents(registry)
        self._facts: dict[RouterSpec, RouterFacts] = {}

    def checked(self, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        """A router as a catalog writes it, held against its kind (see the protocol)."""
        if written.get("kind") == SEVERAL:
            return self._several(written)
        kind = _kind(written, self._registry.routers)
        return self._checked(written, kind, self._documents.router(kind))

    def checked_each(self, written: Sequence[Any]) -> list[dict[str, JsonValue]]:
        """A list of routers, likewise."""
        return list(_EACH.validate_python(list(written), context={_ONE: self._one_of_several}))

    def _several(self, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        """A list of routers with what stands beside it."""
        found = _SeveralRouters.model_validate(written, context={_ONE: self._one_of_several})
        each = [RouterSpec.model_validate(one) for one in found.routers]
        judged = found.judged_by or self._judging(each)
        return {**found.model_dump(mode="json"), "judged_by": judged}

    def _one_of_several(self, written: Any) -> dict[str, JsonValue]:
        if not isinstance(written, dict):
            _refuse([Finding((), written, "a mapping with the field kind")])
        if written.get("kind") == SEVERAL:
            _refuse([Finding(("kind",), SEVERAL, "a router, and no list in a list")])
        return self.checked(written)

    def _judging(self, each: Sequence[RouterSpec]) -> int:
        """The place, from 1, of the first that has metrics of its own; else the first."""
        have = (at for at, one in enumerate(each, 1) if self.facts(one).metrics is not None)
        return next(have, 1)

    def checked_hook(self, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        """What a catalog says of a hook's call, likewise."""
        kind = _kind(written, self._registry.hooks)
        return self._checked(written, kind, self._documents.hook(kind))

    def checked_deployer(self, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        """A deployer as a catalog writes it, held against its kind (see the protocol)."""
        kind = _kind(written, self._registry.deployers)
        plain = self._checked(written, kind, self._documents.deployer(kind))
        instances = plain.get("instances")
        if not kind.scales and instances != 1:
            expected = f"1: a deployer of kind {kind.name} has one instance of a version"
            _refuse([Finding(("instances",), instances, expected)])
        return plain

    def _checked(
        self, written: Mapping[str, Any], kind: _AnyKind, model: type[BaseModel]
    ) -> dict[str, JsonValue]:
        found = model.model_validate(written)
        name = getattr(found, "connection", None)
        connection = None if name is None else self._connection(kind, name)
        if name is None and kind.needs_connection:
            expected = f"a connection of kind {_kind_of(kind)}"
            _refuse([Finding(("connection",), MISSING, expected)])
        _refuse(kind.check(found, connection))
        plain = found.model_dump(mode="json")
        _refuse(_with_users(plain, ()))
        return plain

    def facts(self, router: RouterSpec) -> RouterFacts:
        """What a catalog must know of a router that `checked` has taken."""
        if router not in self._facts and (list_ := router.several) is not None:
            each = [self.facts(one) for one in list_.routers]
            judging = each[(list_.judged_by or self._judging(list_.routers)) - 1]
            can = joint([one.capabilities for one in each])
            self._facts[router] = replace(judging, capabilities=can)
        elif router not in self._facts:
            found = self._registry.routers.get(router.kind)
            options = found.options.model_validate(router.options)
            said = found.pack_of(options)
            pack = said if said is None or isinstance(said, str) else found.name
            metrics = None if found.packed is not None and said is None else found.metrics
            can = found.can(options)
            self._facts[router] = RouterFacts(capabilities=can, metrics=metrics, pack=pack)
        return self._facts[router]

    def deployer_facts(self, kind: str) -> DeployerFacts:
        """What must be known of a kind that `checked_deployer` has taken."""
        found = self._registry.deployers.get(kind)
        return DeployerFacts(
            image=found.image, endpoints=found.endpoints, lacks=partial(_lacks, found)
        )

    def schema(self) -> dict[str, Any]:
        """The JSON Schema of a catalog, with the options of every kind."""
        return self._documents.schema

    def _connection(self, kind: _AnyKind, name: str) -> Connection:
        fitting = [
            known
            for known, one in self._connections.items()
            if kind.connection is not None and isinstance(one, kind.connection)
        ]
        if name not in fitting:
            names = listed(fitting) or "there is none"
            what = f"a connection of kind {_kind_of(kind)} of AVIARY_CONNECTIONS_FILE"
            expected = f"{what} ({names}){nearest(name, fitting)}"
            if name in self._connections:
                expected += f"; it is of kind {self._connections[name].connection_kind}"
            _refuse([Finding(("connection",), name, expected)])
        return self._connections[name]


def _kind(written: Mapping[str, Any], known: Kinds[_K]) -> _K:
    """The kind that a mapping of a catalog names."""
    name = written.get("kind")
    if name is None:
        _refuse([Finding((), dict(written), "a mapping with the field kind")])
    if not isinstance(name, str) or name not in known.names:
        hint = nearest(str(name), known.names)
        _refuse([Finding(("kind",), name, f"one of {listed(known.names)}{hint}")])
    try:
        return known.get(str(name))
    except BrokenKindError as error:
        _refuse([Finding(("kind",), name, f"a kind that can be used ({error})")])
        raise


def _lacks(kind: DeployerKind[Any, Any], wanted: WantedVersion) -> Iterable[Finding]:
    return kind.check_version(kind.options.model_validate(wanted.recipe), wanted)


class _Documents:
    """What a catalog may write of the kinds of a registry."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._models: dict[tuple[str, str], type[BaseModel]] = {}

    def router(self, kind: RouterKind[Any, Any]) -> type[BaseModel]:
        """A kind's options with what stands beside them."""
        return self._model(kind, "router", (kind.options,))

    def hook(self, kind: HookKind[Any, Any]) -> type[BaseModel]:
        """Likewise."""
        return self._model(kind, "hook", (kind.options,))

    def deployer(self, kind: DeployerKind[Any, Any]) -> type[BaseModel]:
        """A kind's recipe with what stands beside it."""
        return self._model(kind, "deployer", (kind.options, DeployTerms))

    def _model(
        self, kind: _AnyKind, port: str, bases: tuple[type[BaseModel], ...]
    ) -> type[BaseModel]:
        if (port, kind.name) not in self._models:
            beside: dict[str, Any] = {"kind": (Literal[kind.name], ...)}
            if kind.connection is not None:
                needed, optional = (ConnectionName, ...), (ConnectionName | None, None)
                beside["connection"] = needed if kind.needs_connection else optional
            name = f"{_camel(kind.name)}{port.capitalize()}"
            self._models[port, kind.name] = create_model(
                name, __base__=bases, __doc__=kind.text, **beside
            )
        return self._models[port, kind.name]

    @cached_property
    def schema(self) -> dict[str, Any]:
        """The JSON Schema of a catalog."""
        known = self._registry
        return catalog_schema(
            {kind.name: self.router(kind) for kind in known.routers.usable()},
            {kind.name: self.deployer(kind) for kind in known.deployers.usable()},
            {kind.name: self.hook(kind) for kind in known.hooks.usable()},
            known.packs().names,
        )


@cache
def _documents(registry: Registry) -> _Documents:
    return _Documents(registry)


class Metrics(NamedTuple):
    """What counts requests for routers that don't."""

    source: MetricsSource
    late: timedelta
    """Longest time from a request until it is counted."""


def make_router(
    spec: RouterSpec,
    registry: Registry,
    connections: Mapping[str, Connection],
    shared: Shared,
    metrics: Metrics | None = None,
) -> Routing:
    """Make the router of a plan, and find what else it can do.

    Args:
        spec: of the plan.
        registry: the kinds that there are.
        connections: of the settings, by name.
        shared: what all routers share.
        metrics: None: requests are not counted where the router does not.

    Raises:
        Terminal: its kind is not installed (any more), or does not take its options.
        Retryable: its connection is not among those of the settings (any more).
    """
    found = spec.several
    if found is not None:
        each = [make_router(one, registry, connections, shared, metrics) for one in found.routers]
        return join(found, each, owns=True)
    kind, made = make("router", registry.routers, spec, connections, shared)
    options = kind.options.model_validate(spec.options)
    can = kind.can(options)
    try:
        counts_itself = isinstance(made, LateCounts)
        if can.counts is not Counting.METRICS or counts_itself:
            return Routing.of(made, can)
        if metrics is None:
            return Routing.of(made, can.model_copy(update={"counts": Counting.NONE}))
        return Routing.of(made, can, _counted(made, kind.pack_of(options), registry, metrics))
    except TypeError as error:
        raise Terminal(f"router kind {spec.kind}: {error}") from None


def _counted(
    made: Any, said: str | Pack | None, registry: Registry, metrics: Metrics
) -> MetricCounts:
    from activities.metric_counts import MetricCounts  # noqa: PLC0415 - it imports Temporal

    pack = registry.packs().load(said) if isinstance(said, str) else said
    if pack is None or pack.requests is None:
        raise TypeError("its requests are counted by metrics, and it has no pack that says how")
    return MetricCounts(made, metrics.source, pack.requests, metrics.late)


def join(found: Several, each: Sequence[Routing], *, owns: bool) -> Routing:
    """Several routers as one.

    Args:
        found: what the plan says of them.
        each: they, in its order.
        owns: whether they are closed with it.
    """
    parts = [Part(name, one) for name, one in zip(found.names, each, strict=True)]
    can = joint([one.capabilities for one in each])
    return several(parts, can, judged=(found.judged_by or 1) - 1, owns=owns)


def _kind_of(kind: _AnyKind) -> str:
    return kind.connection.connection_kind if kind.connection else "none"


def _camel(name: str) -> str:
    return "".join(part.capitalize() for part in name.replace("_", "-").split("-"))


def _with_users(value: Any, path: tuple[str | int, ...]) -> Iterator[Finding]:
    """Addresses with a user or a password, which are secrets."""
    if isinstance(value, str):
        if hide_user(value) != value:
            expected = "an address without user or password: a connection is for that"
            yield Finding(path, value, expected)
        return
    inner: Iterable[tuple[str | int, Any]] = ()
    if isinstance(value, dict):
        inner = value.items()
    elif isinstance(value, list):
        inner = enumerate(value)
    for part, one in inner:
        yield from _with_users(one, (*path, part))


def _refuse(findings: Iterable[Finding]) -> None:
    """Raise findings as errors of a model validator, at their places below the router."""
    details = [
        InitErrorDetails(
            type=PydanticCustomError(
                "aviary_router", "expected {expected}", {"expected": found.expected}
            ),
            loc=found.path,
            input=found.value,
        )
        for found in findings
    ]
    if details:
        raise ValidationError.from_exception_data("router", details)
