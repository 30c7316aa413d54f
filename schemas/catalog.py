"""The catalog: which services there are, what each depends on, and how it is released.

`schemas.catalog_file.load_catalog` reads one from a file, with line numbers in its errors.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    JsonValue,
    PrivateAttr,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.admission import AdmissionPolicy
from schemas.alert_policy import AlertPolicy
from schemas.audience_spec import (
    MOST_AUDIENCES,
    AudienceName,
    AudienceSpec,
    HeaderName,
    NamedAudience,
    audience_of,
)
from schemas.base import (
    Model,
    ServiceName,
    SomeDuration,
)
from schemas.capabilities import Capabilities
from schemas.catalog_check import (
    Outline,
    ServiceOutline,
    check_outline,
    refuse,
)
from schemas.deploy_spec import DeployerFacts, DeployerKinds, DeploySpec, deployer_kinds_of
from schemas.hooks import Hook, Hooks
from schemas.judging import JudgeSpec, MetricSpec
from schemas.lane import LaneSpec
from schemas.mirroring import NO_TERMS, MirrorTerms
from schemas.needs import Needs
from schemas.notice import NoticeRule
from schemas.router_spec import RouterFacts, RouterKinds, RouterSpec, kinds_of
from schemas.strategy import BUILT_IN, Strategy


class ServiceSpec(Model):
    """One service. What it leaves out comes from `defaults`."""

    depends_on: tuple[ServiceName, ...] = Field(
        default=(),
        json_schema_extra={"uniqueItems": True},
        description="Services whose new versions must hold before this one begins.",
    )
    router: RouterSpec | None = None
    strategy: str | None = Field(default=None, description="Name of a strategy.")
    metrics: tuple[MetricSpec, ...] | None = None
    judge: JudgeSpec | None = None
    alerts: AlertPolicy | None = None
    deploy: DeploySpec | None = Field(
        default=None, description="Who puts its versions up; none: the pipeline does."
    )
    hooks: Hooks = Field(default=(), description="Beside those of the catalog and of its strategy.")
    mirror: MirrorTerms = Field(
        default=NO_TERMS, description="Which copies of requests its new versions can take."
    )
    side_by_side: bool = Field(
        default=True,
        description="Whether users may be on two versions at once; else only a switch of all does.",
    )
    lane: bool = Field(
        default=True,
        description="Whether it is part of its releases' lanes, where the catalog has `lanes`.",
    )
    stale_after: SomeDuration | None = Field(
        default=None,
        description="Of a feature flag: how long it is fully on until somebody is told, once.",
    )
    needs: Needs = Field(
        default_factory=dict,
        description='What a version needs, such as `schema: ">= 42"`: the hook of that name says '
        "what there is, and whether the stable version works with it.",
    )

    @model_validator(mode="before")
    @classmethod
    def _nothing_is_empty(cls, value: Any) -> Any:
        return {} if value is None else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Allow `ledger:` with nothing after it."""
        return {"anyOf": [{"type": "null"}, handler(core_schema)]}


class Defaults(Model):
    """What a service has that does not say otherwise; each section is replaced as a whole."""

    router: RouterSpec | None = None
    strategy: str = "standard"
    metrics: tuple[MetricSpec, ...] | None = Field(
        default=None, description="Left out: those of the router's kind; [] judges by time alone."
    )
    judge: JudgeSpec = JudgeSpec()
    alerts: AlertPolicy = AlertPolicy()
    deploy: DeploySpec | None = Field(
        default=None, description="Who puts versions up; left out, or none: the pipeline does."
    )


class Cycles(StrEnum):
    """What becomes of services that need each other."""

    GROUP = "group"
    """Those that are released together move in step, as one group."""
    REFUSE = "refuse"
    """The catalog is wrong."""


class AlertLabels(Model):
    """Where alerts carry what Aviary must know to find the canary."""

    service: tuple[str, ...] = Field(
        default=("service",),
        min_length=1,
        description="Labels that may name the service; the first that holds one counts.",
    )


class ResolvedService(Model):
    """One service with its defaults filled in."""

    service: ServiceName
    depends_on: tuple[ServiceName, ...]
    router: RouterSpec
    strategy_name: str
    strategy: Strategy
    metrics: tuple[MetricSpec, ...] | None
    """None: neither the catalog nor the router's kind names any."""
    judge: JudgeSpec
    alerts: AlertPolicy
    hooks: tuple[Hook, ...]
    """The catalog's, the strategy's, then its own."""
    capabilities: Capabilities
    """Of the router's kind."""
    mirror: MirrorTerms
    side_by_side: bool
    deploy: DeploySpec | None = None
    """None: the pipeline puts its versions up."""
    needs: Needs = Field(default_factory=dict)
    audiences: dict[str, NamedAudience] = Field(default_factory=dict)
    """Those that its strategy names."""
    pack: str | None = None
    """Of the metrics of its router's kind."""
    lane: LaneSpec | None = None
    """None: it is in no lane."""
    stale_after: SomeDuration | None = None
    """Of a flag; None: nobody is told how long it is on."""


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool):
        raise ValueError("expected 1")  # noqa: TRY004 - pydantic wants ValueError
    return value


_HAS_ROUTER: dict[str, JsonValue] = {
    "type": "object",
    "required": ["router"],
    "properties": {"router": {"type": ["object", "array"]}},
}


class Catalog(Model):
    """A whole catalog."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [
                {"required": ["defaults"], "properties": {"defaults": _HAS_ROUTER}},
                {"properties": {"services": {"additionalProperties": _HAS_ROUTER}}},
            ]
        }
    )

    version: Annotated[Literal[1], BeforeValidator(_no_bool)] = Field(
        description="Version of the format."
    )
    environment: str = Field(
        default="default", min_length=1, description="Shown, and written on events and metrics."
    )
    defaults: Defaults = Defaults()
    strategies: dict[str, Strategy] = Field(
        default_factory=dict, description="By name; `standard` is there unless defined here."
    )
    audiences: dict[AudienceName, AudienceSpec] = Field(
        default_factory=dict,
        max_length=MOST_AUDIENCES,
        description="Requests that steps of strategies are for, by name.",
    )
    country_header: HeaderName | None = Field(
        default=None,
        description="The header in which the CDN or gateway says the country, for audiences by "
        "country. It has to take it from requests of callers.",
    )
    lanes: LaneSpec | None = Field(
        default=None,
        description="Requests that have met a canary of a release carry its lane, and meet the "
        "canaries of its other services. Left out: each router decides by itself.",
    )
    services: dict[ServiceName, ServiceSpec] = Field(
        min_length=1, json_schema_extra={"additionalProperties": False}
    )
    alert_labels: AlertLabels = AlertLabels()
    max_parallel: int = Field(
        default=10, ge=1, description="Canaries of one release that move at the same time."
    )
    cycles: Cycles = Field(
        default=Cycles.GROUP,
        description="Services that need each other move in step, as a group; or are an error.",
    )
    admission: AdmissionPolicy = AdmissionPolicy()
    hooks: Hooks = Field(default=(), description="Called for every service of every release.")
    notices: tuple[NoticeRule, ...] | None = Field(
        default=None, description="Who is told what; left out: every channel is told everything."
    )

    _kinds: RouterKinds | None = PrivateAttr(default=None)
    _deployers: DeployerKinds | None = PrivateAttr(default=None)
    _called: frozenset[str] | None = PrivateAttr(default=None)
    _audiences: dict[tuple[str, bool], NamedAudience] = PrivateAttr(default_factory=dict)
    _judges: dict[tuple[int, str], JudgeSpec] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any) -> None:
        """Keep the kinds that the catalog was read with: `resolve` asks for their defaults."""
        self._kinds = kinds_of(context)
        self._deployers = deployer_kinds_of(context)

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        refuse("Catalog", check_outline(self._outline()))
        return self

    def _outline(self) -> Outline:
        return Outline(
            services={
                name: ServiceOutline(
                    depends_on=tuple(enumerate(spec.depends_on)),
                    strategy=spec.strategy,
                    has_router=spec.router is not None,
                )
                for name, spec in self.services.items()
            },
            strategies={*BUILT_IN, *self.strategies},
            default_strategy=self.defaults.strategy,
            refuses_cycles=self.cycles is Cycles.REFUSE,
            has_router=self.defaults.router is not None,
            told_of=tuple(tuple(enumerate(rule.services or ())) for rule in self.notices or ()),
        )

    def strategy(self, name: str) -> Strategy | None:
        """Return a strategy of this catalog, or else a built-in one; None if neither has it."""
        return self.strategies.get(name) or BUILT_IN.get(name)

    def audience(self, name: str, *, of_flag: bool = False) -> NamedAudience:
        """An audience of this catalog, as routers are told it.

        Args:
            name: of the audience.
            of_flag: whether the router is a provider of feature flags.

        Raises:
            KeyError: there is none of that name.
            schemas.audience_spec.AudienceError: it can't be told to a router.
        """
        if (name, of_flag) not in self._audiences:
            self._audiences[name, of_flag] = audience_of(
                self.audiences[name], self.country_header, of_flag=of_flag
            )
        return self._audiences[name, of_flag]

    def audiences_of(
        self, strategy: Strategy, *, of_flag: bool = False
    ) -> dict[str, NamedAudience]:
        """The audiences that a strategy names, likewise."""
        named = (strategy.whom(step) for step in strategy.steps)
        return {name: self.audience(name, of_flag=of_flag) for name in named if name is not None}

    @property
    def has_kinds(self) -> bool:
        """Whether the routers were held against their kinds, whose defaults are known then."""
        return self._kinds is not None

    def router(self, spec: ServiceSpec) -> RouterSpec | None:
        """A service's router: its own, or the catalog's; None without one."""
        return spec.router or self.defaults.router

    def facts(self, spec: ServiceSpec) -> RouterFacts | None:
        """What is known of a service's router; None without one, or without kinds."""
        router = self.router(spec)
        return None if router is None else self.router_facts(router)

    def router_facts(self, router: RouterSpec) -> RouterFacts | None:
        """What is known of a router; None without kinds."""
        return None if self._kinds is None else self._kinds.facts(router)

    def deploy(self, spec: ServiceSpec) -> DeploySpec | None:
        """Who puts up a service's versions; None: the pipeline."""
        found = spec.deploy or self.defaults.deploy
        return None if found is None or found.is_none else found

    def deployer_facts(self, spec: DeploySpec) -> DeployerFacts | None:
        """What is known of a kind of deployer; None without kinds."""
        return None if self._deployers is None else self._deployers.deployer_facts(spec.kind)

    def lane(self, spec: ServiceSpec) -> LaneSpec | None:
        """How a service's releases have lanes; None: it is in none."""
        return self.lanes if spec.lane else None

    def metrics(self, spec: ServiceSpec) -> tuple[MetricSpec, ...] | None:
        """A service's metrics: its own, the catalog's, or those of its router's kind."""
        for named in (spec.metrics, self.defaults.metrics):
            if named is not None:
                return named
        facts = self.facts(spec)
        return None if facts is None else facts.metrics

    def judge(self, spec: ServiceSpec) -> JudgeSpec:
        """A service's judge, with the pack of its router's kind where it names none.

        One object for all services that have the same.
        """
        judge = spec.judge or self.defaults.judge
        facts = self.facts(spec)
        if judge.pack is not None or facts is None or facts.pack is None:
            return judge
        key = (id(judge), facts.pack)
        if key not in self._judges:
            self._judges[key] = judge.model_copy(update={"pack": facts.pack})
        return self._judges[key]

    @property
    def called(self) -> frozenset[str]:
        """The services that another one depends on."""
        if self._called is None:
            specs = self.services.values()
            self._called = frozenset(one for spec in specs for one in spec.depends_on)
        return self._called

    def resolve(self, service: str, strategy: str | None = None) -> ResolvedService:
        """Fill in what a service leaves out.

        Args:
            service: its name.
            strategy: used instead of the service's own, if given.

        Raises:
            KeyError: the catalog has no such service, no such strategy, or no audience of it.
            ValueError: the catalog was read without kinds of routers, whose defaults it needs.
        """
        spec, defaults = self.services[service], self.defaults
        name = strategy or spec.strategy or defaults.strategy
        router = self.router(spec)
        found = self.strategy(name)
        if found is None or router is None:
            raise KeyError(name)
        facts = self.facts(spec)
        if facts is None:
            raise ValueError("expected a catalog that was read with kinds of routers")
        return ResolvedService(
            service=service,
            depends_on=spec.depends_on,
            router=router,
            strategy_name=name,
            strategy=found,
            metrics=self.metrics(spec),
            judge=self.judge(spec),
            alerts=spec.alerts or defaults.alerts,
            hooks=(*self.hooks, *found.hooks, *spec.hooks),
            capabilities=facts.capabilities,
            mirror=spec.mirror,
            side_by_side=spec.side_by_side,
            deploy=self.deploy(spec),
            needs=spec.needs,
            audiences=self.audiences_of(found, of_flag=facts.capabilities.flags),
            pack=facts.pack,
            lane=self.lane(spec),
            stale_after=spec.stale_after,
        )
