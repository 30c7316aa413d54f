"""The catalog: which services there are, what each depends on, and how it is released.

`schemas.catalog_file.load_catalog` reads one from a file, with line numbers in its errors.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from itertools import islice
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
from pydantic_core import CoreSchema, InitErrorDetails, PydanticCustomError, ValidationError

from schemas.admission import AdmissionPolicy
from schemas.alert_policy import AlertPolicy
from schemas.audience_spec import (
    EVERYBODY,
    MOST_AUDIENCES,
    AudienceName,
    AudienceSpec,
    HeaderName,
    NamedAudience,
    audience_of,
)
from schemas.audience_steps import Reach, reaches
from schemas.base import (
    DURATION_SCHEMA,
    PERCENT_SCHEMAS,
    Duration,
    Model,
    Percent,
    ServiceName,
    SomeDuration,
    SomePercent,
    parse_duration,
)
from schemas.capabilities import Capabilities
from schemas.catalog_check import (
    MOST_FINDINGS,
    Finding,
    Outline,
    ServiceOutline,
    check_outline,
    check_weights,
)
from schemas.deploy_spec import DeployerFacts, DeployerKinds, DeploySpec, deployer_kinds_of
from schemas.hooks import Hook, Hooks
from schemas.judging import JudgeSpec, MetricSpec, RampSpec
from schemas.mirroring import NO_TERMS, MirrorTerms, check_switch, check_unseen_first, mixes_users
from schemas.needs import Needs
from schemas.notice import NoticeRule
from schemas.router_spec import RouterFacts, RouterKinds, RouterSpec, kinds_of
from schemas.sticky import Sticky

_DURATION_SCHEMA: JsonSchemaValue = {
    **DURATION_SCHEMA,
    "description": "A duration: min = max.",
}
_FULL = 100.0


def _refuse(title: str, every: Iterable[Finding]) -> None:
    """Raise findings, the first of very many, as errors of a model validator at their places."""
    findings = list(islice(every, MOST_FINDINGS))
    if findings:
        raise ValidationError.from_exception_data(
            title,
            [
                InitErrorDetails(
                    type=PydanticCustomError(
                        "aviary_catalog",
                        "expected {expected}",
                        {"expected": found.expected},
                    ),
                    loc=found.path,
                    input=found.value,
                )
                for found in findings
            ],
        )


class Bake(Model):
    """How long a weight is held and judged; written as one duration, `min` equals `max`."""

    min: Duration = Field(default=timedelta(0), description="Not shorter, however good it looks.")
    max: Duration = Field(description="Not longer: with no verdict by then it is inconclusive.")

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        if not isinstance(value, dict | Bake):
            length = parse_duration(value)
            return {"min": length, "max": length}
        return value

    @model_validator(mode="after")
    def _min_up_to_max(self) -> Self:
        if self.min > self.max:
            raise ValueError("expected min to be at most max")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Allow the short form."""
        return {"anyOf": [_DURATION_SCHEMA, handler(core_schema)]}


class Gate(Model):
    """A step that waits for a person after its bake; written as `true` or as the question."""

    text: str = Field(default="", max_length=1000, description="What the person is asked.")

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        if value is True:
            return {}
        return {"text": value} if isinstance(value, str) else value

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Allow the short forms."""
        return {"anyOf": [{"type": "boolean"}, {"type": "string"}, handler(core_schema)]}


def _no_gate(value: Any) -> Any:
    return None if value is False else value


def _is_none(value: Any) -> bool:
    return value is None


class Step(Model):
    """One step as the document has it; written as a bare number it is only a weight."""

    weight: SomePercent | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Share of the requests that it gets, percent.",
    )
    mirror: SomePercent | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Instead of a weight: share of the requests that are copied to it, percent; no "
        "user sees its answers.",
    )
    preview: Literal[True] | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Instead of a weight: only who asks for the version by header or cookie gets "
        "it.",
    )
    audience: AudienceName | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Whom it is for: an audience of the catalog, or everybody. Left out: the "
        "strategy's.",
    )
    bake: Bake | None = Field(default=None, description="Left out: the strategy's.")
    gate: Annotated[Gate | None, BeforeValidator(_no_gate)] = None

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            return {"weight": value}
        return value

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if sum(one is not None for one in (self.weight, self.mirror, self.preview)) != 1:
            raise ValueError("expected one of weight, mirror and preview")
        if self.audience is not None and self.weight is None:
            raise ValueError("audience: expected with a weight")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Allow the short forms."""
        return {"anyOf": [*PERCENT_SCHEMAS, handler(core_schema)]}

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {"required": [name], "properties": {name: {"not": {"type": "null"}}}}
                for name in ("weight", "mirror", "preview")
            ]
        }
    )


class FullStep(Model):
    """One step as it is carried out, with the strategy's defaults filled in."""

    weight: Percent
    bake: Bake
    gate: Gate | None = None
    mirror: Percent | None = Field(default=None, exclude_if=_is_none)
    """Share of the requests that are copied, percent, at weight 0."""

    audience: AudienceName | None = Field(default=None, exclude_if=_is_none)
    """Whom it is for; None: everybody."""

    @property
    def text(self) -> str:
        """What the version gets, in a few words: `5 % of staff`, `copies of 25 %`, `preview`."""
        if self.mirror is not None:
            return f"copies of {self.mirror:g} %"
        if not self.weight:
            return "preview"
        return f"{self.weight:g} %{f' of {self.audience}' if self.audience else ''}"

    @property
    def share(self) -> float:
        """Share of the requests that its instances are to take, percent: given or copied."""
        return self.mirror or self.weight


class Shape(StrEnum):
    """How a version gets the requests of users."""

    CANARY = "canary"
    """More and more of them, beside the old version."""
    BLUE_GREEN = "blue_green"
    """None of them until one switch of all."""


class OnInconclusive(StrEnum):
    """What happens when a bake ends without a verdict. Going on by silence is not among them."""

    GATE = "gate"
    """A person decides."""
    ROLL_BACK = "roll_back"


class Strategy(Model):
    """How a canary gets from nothing to all requests."""

    shape: Shape = Field(
        default=Shape.CANARY,
        exclude_if=lambda shape: shape is Shape.CANARY,
        description="blue_green: no user gets the version before all do, in one switch.",
    )
    steps: tuple[Step, ...] = Field(
        default=(), max_length=100, description="Weights must grow; a last step of 100 is implied."
    )
    ramp: RampSpec | None = Field(
        default=None,
        description="Instead of steps: weights that keep to a budget of extra failed requests.",
    )
    sticky: Sticky | None = Field(
        default=None,
        exclude_if=_is_none,
        description="By what users stay with a version: user, session, address or nothing. Left "
        "out: as the router is set up.",
    )
    audience: AudienceName | None = Field(
        default=None,
        exclude_if=_is_none,
        description="Whom its steps are for that name no audience; a last step of 100 for "
        "everybody is implied. Left out: everybody.",
    )
    bake: Bake = Field(
        default=Bake(max=timedelta(0)), description="For steps that have none of their own."
    )
    soak: Duration = Field(
        default=timedelta(0),
        description="How long all services of a release hold together before they are finalized.",
    )
    on_inconclusive: OnInconclusive = OnInconclusive.GATE
    shrink_stable: bool = Field(
        default=False,
        description="Stable has instances for its share alone, where a deployer puts them up.",
    )
    regrow_within: SomeDuration = Field(
        default=timedelta(minutes=1),
        description="With shrink_stable: how long the requests of a canary that goes back wait "
        "for stable to have its instances again. Then they come back all the same.",
    )
    hooks: Hooks = Field(
        default=(), description="Beside those of the catalog and of the service that has it."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["steps"],
                    "properties": {"steps": {"minItems": 1}, "ramp": {"type": "null"}},
                },
                {
                    "required": ["ramp"],
                    "properties": {"steps": {"maxItems": 0}, "ramp": {"type": "object"}},
                },
                {
                    "required": ["shape"],
                    "properties": {
                        "shape": {"const": "blue_green"},
                        "steps": {"maxItems": 0},
                        "ramp": {"type": "null"},
                    },
                },
            ]
        }
    )

    @model_validator(mode="after")
    def _steps_or_ramp(self) -> Self:
        if self.switches:
            weights = [step.weight for step in self.steps]
            ramps = self.ramp is not None
            audiences = [self.whom(step) for step in self.steps]
            _refuse(
                "Strategy",
                check_switch(weights, audiences, ramps=ramps, shrinks=self.shrink_stable),
            )
        elif bool(self.steps) == (self.ramp is not None):
            raise ValueError("expected either steps or ramp, and not both")
        if self.audience is not None and (self.ramp is not None or self.switches):
            raise ValueError("audience: expected steps: a ramp, or a switch, is for everybody")
        if self.shrink_stable and self.ramp is not None:
            raise ValueError("shrink_stable: expected steps: a ramp may give weight back")
        return self

    @model_validator(mode="after")
    def _weights_grow(self) -> Self:
        weights = [step.weight for step in self.steps]
        whom = [self.whom(step) for step in self.steps]
        _refuse("Strategy", check_weights(weights, (), whom))
        _refuse("Strategy", check_unseen_first(weights))
        return self

    def whom(self, step: Step) -> str | None:
        """The audience that a step is for; None: everybody."""
        name = (step.audience or self.audience) if step.weight is not None else None
        return None if name == EVERYBODY else name

    def reaches(self, audiences: Mapping[str, NamedAudience]) -> tuple[Reach, ...]:
        """Whom each of its full steps is for, and who keeps the canary from the steps before.

        Raises:
            KeyError: an audience that there is not.
        """
        return reaches([(step.audience, step.weight) for step in self.full_steps], audiences)

    @property
    def switches(self) -> bool:
        """Whether all users get the version in one switch."""
        return self.shape is Shape.BLUE_GREEN

    @property
    def mixes_users(self) -> str:
        """What puts users on two versions at once, in words; empty: nothing does."""
        weights = [one.weight for one in self.steps]
        return mixes_users(weights, list(map(self.whom, self.steps)), ramps=self.ramp is not None)

    @property
    def bakes(self) -> bool:
        """Whether a weight is held for some time, in which it is judged."""
        return any((step.bake or self.bake).max > timedelta(0) for step in self.steps)

    @property
    def full_steps(self) -> tuple[FullStep, ...]:
        """The steps as they are carried out: defaults filled in, ending at 100 without a bake.

        A switch begins with a preview, unless it has steps before it.
        """
        steps = [
            FullStep(
                weight=step.weight or 0.0,
                bake=step.bake or self.bake,
                gate=step.gate,
                mirror=step.mirror,
                audience=self.whom(step),
            )
            for step in self.steps
        ]
        if self.switches and (not steps or steps[0].weight):
            steps.insert(0, FullStep(weight=0.0, bake=Bake(max=timedelta(0))))
        if not steps or steps[-1].weight < _FULL or steps[-1].audience is not None:
            steps.append(FullStep(weight=_FULL, bake=Bake(max=timedelta(0))))
        return tuple(steps)


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


STANDARD = Strategy.model_validate(
    {"steps": [1, 5, 25, 50], "bake": {"min": "1m", "max": "10m"}, "soak": "5m"}
)
"""The strategy of services that name none; a catalog may define its own `standard`."""

BUILT_IN: dict[str, Strategy] = {"standard": STANDARD}
"""Strategies that every catalog has."""


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
    _audiences: dict[str, NamedAudience] = PrivateAttr(default_factory=dict)
    _judges: dict[tuple[int, str], JudgeSpec] = PrivateAttr(default_factory=dict)

    def model_post_init(self, context: Any) -> None:
        """Keep the kinds that the catalog was read with: `resolve` asks for their defaults."""
        self._kinds = kinds_of(context)
        self._deployers = deployer_kinds_of(context)

    @model_validator(mode="after")
    def _sections_agree(self) -> Self:
        _refuse("Catalog", check_outline(self._outline()))
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

    def audience(self, name: str) -> NamedAudience:
        """An audience of this catalog, as routers are told it.

        Raises:
            KeyError: there is none of that name.
            schemas.audience_spec.AudienceError: it can't be told to a router.
        """
        if name not in self._audiences:
            self._audiences[name] = audience_of(self.audiences[name], self.country_header)
        return self._audiences[name]

    def audiences_of(self, strategy: Strategy) -> dict[str, NamedAudience]:
        """The audiences that a strategy names, likewise."""
        named = (strategy.whom(step) for step in strategy.steps)
        return {name: self.audience(name) for name in named if name is not None}

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
            audiences=self.audiences_of(found),
            pack=facts.pack,
        )
