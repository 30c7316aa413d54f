"""What a release and its canaries are told, say of themselves, and end with.

These are the inputs, results, commands and states of the two workflows: everything that the bridge,
the command line and the workflows say to each other.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    SerializationInfo,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from schemas.admission import AdmissionPolicy
from schemas.alert import Alert
from schemas.alert_policy import AlertPolicy
from schemas.base import Duration, Model, Percent, ReleaseId, ServiceName, Version
from schemas.blame import Exposed, WeightChange
from schemas.capabilities import Capabilities
from schemas.causes import CauseKind as CauseKind  # noqa: PLC0414
from schemas.chain import ChainEnd
from schemas.decisions import DecisionRecord
from schemas.deploy_spec import DeploySpec
from schemas.deployment import Config, Generation, ImageName, WantedVersion
from schemas.fitting import fit, fitted, size_of
from schemas.hooks import AskedHook, Hook, HookAnswer, HookMoment
from schemas.interning import interned
from schemas.judging import JudgeSpec, MetricSpec
from schemas.lane import LaneSpec
from schemas.lane_counts import LaneSeen
from schemas.measured import Measured
from schemas.needs import Needs
from schemas.outside import TEXT_MOST, Name, Text, cut
from schemas.phases import CanaryPhase as CanaryPhase  # noqa: PLC0414 - part of what this says
from schemas.phases import ReleasePhase as ReleasePhase  # noqa: PLC0414
from schemas.route import Route
from schemas.router_spec import KindName, RouterSpec
from schemas.sharing import FEW, share, unshare
from schemas.stages import FlagsStage, Stage
from schemas.strategy import Strategy
from schemas.verdict import Verdict

LABELS_BYTES = 16 * 1024
"""Most that a release carries of its deploy event's labels, in each of its events."""
CAUSE_BYTES = 32 * 1024
VERDICT_BYTES = 32 * 1024
CAUSE_ALERT_BYTES = 16 * 1024
"""Of an alert, in a cause that it is."""
REPORT_BYTES = 128 * 1024
STATUS_BYTES = 1024 * 1024
_SHORTER = (TEXT_MOST, 200, 60)
"""Longest texts of a status, as there are more services in it."""

Labels = Annotated[dict[str, str], AfterValidator(lambda labels: fit(labels, LABELS_BYTES))]


class Cause(Model):
    """Why something went back."""

    kind: CauseKind
    service: ServiceName | None = Field(default=None, description="Where it began.")
    text: Text = Field(description="One sentence that a person understands.")
    at: datetime
    by: Name = Field(default="", description="Who, for a command.")
    alert: Alert | None = None
    verdict: Verdict | None = None

    @classmethod
    def of(cls, value: Any, default: Self) -> Self:
        """Whatever came with an order to go back, as a cause; `default` for none or junk."""
        try:
            return fitted(cls.model_validate(value), CAUSE_BYTES)
        except ValidationError:
            return default

    @property
    def brief(self) -> Self:
        """Without the evidence: what, where, when and who."""
        return self.model_copy(update={"alert": None, "verdict": None})


class EndOrder(Model):
    """A release's order to a canary that Temporal no longer takes for its child."""

    release: str = Field(description="Who orders: a canary of another release does not obey.")
    cause: Cause | None = Field(description="Why it goes back; None: it becomes stable.")


_JUNK = 500
"""Of what is no command, in characters."""


class Command(Model):
    """A person's word to a release or a canary. Every field may be left out.

    Unknown fields are ignored here, unlike everywhere else: a signal from the Temporal UI with one
    field too many must not be lost when it says "roll back".
    """

    model_config = ConfigDict(frozen=True, extra="ignore")

    by: Name = Field(default="", description="Who says it.")
    reason: Text = ""
    service: ServiceName | None = Field(
        default=None, description="To a release: which of its services; all that apply if left out."
    )

    @classmethod
    def of(cls, value: Any) -> Self:
        """Whatever a person sent, as a command; text or junk becomes the reason.

        The word itself is the handler's name: "roll back" with a malformed payload still means it.
        """
        if value is None:
            return cls()
        if isinstance(value, cls):
            return value
        try:
            return cls.model_validate(value)
        except ValidationError:
            return cls(reason=cut(str(value), _JUNK))


class ServicePlan(Model):
    """One service of a release, with everything its canary needs: a snapshot of the catalog."""

    service: ServiceName
    version: Version
    depends_on: tuple[ServiceName, ...] = Field(
        default=(),
        description="Services of this release that must hold first (transitively); of a group, "
        "those outside of it.",
    )
    group: tuple[ServiceName, ...] = Field(
        default=(),
        description="All services of this release that need each other, this one among them: they "
        "move in step. Empty for one that is in no cycle.",
    )
    router: RouterSpec
    capabilities: Capabilities = Field(description="Of the router's kind.")
    strategy_name: str
    strategy: Annotated[Strategy, AfterValidator(interned)] = Field(
        description="As the catalog has it: for people."
    )
    stages: Annotated[tuple[Stage, ...], AfterValidator(interned)] = Field(
        description="What its canary does, made from the strategy."
    )
    hooks: tuple[Hook, ...] = Field(
        default=(), description="Those that are told how it ends, or that it goes back."
    )
    judge: JudgeSpec
    metrics: tuple[MetricSpec, ...] = ()
    alerts: AlertPolicy
    service_labels: tuple[str, ...] = Field(
        default=("service",), description="Alert labels that may name the service."
    )
    deploy: DeploySpec | None = Field(
        default=None, description="Who puts the version up; None: the pipeline."
    )
    needs: Needs = Field(default_factory=dict)
    lane: LaneSpec | None = Field(
        default=None,
        exclude_if=lambda one: one is None,
        description="How it is part of the release's lane; None: it is not.",
    )
    image: ImageName | None = Field(
        default=None, description="As the deploy event says; None: as the recipe says."
    )
    config: Config = Field(default_factory=dict, description="As the deploy event says.")
    has_neighbours: bool = Field(
        default=False,
        exclude_if=lambda has: not has,
        description="Whether the catalog has services that it calls, or that call it: an alert "
        "about it may be the doing of their releases.",
    )
    takes_back: Version | None = Field(
        default=None,
        exclude_if=lambda version: version is None,
        description="Of a revert: the version that it takes back. Where another one is stable by "
        "then, nothing is moved.",
    )

    @property
    def lease(self) -> timedelta | None:
        """How long its canary may go without a sign of life; None: for ever.

        Where the strategy leaves it to the default, only a router that can carry one has it.
        """
        return (self.strategy.lease or None) if self.capabilities.leases else None

    def wanted(self, release: str, generation: int, instances: int) -> WantedVersion:
        """Its version as a deployer shall have it.

        Args:
            release: who wants it.
            generation: of the order.
            instances: how many.

        Raises:
            ValueError: the pipeline puts its versions up.
        """
        if self.deploy is None:
            raise ValueError(f"{self.service}: expected a plan with a deployer")
        return WantedVersion(
            service=self.service,
            version=self.version,
            release=release,
            generation=generation,
            instances=instances,
            image=self.image,
            config=self.config,
            recipe=self.deploy.recipe,
        )


class ReleasePlan(Model):
    """What a release will do, fixed when it starts."""

    release: ReleaseId
    services: dict[ServiceName, ServicePlan]
    stages: tuple[tuple[ServiceName, ...], ...] = Field(
        description="Sets of services that may go at once, dependencies first."
    )
    soak: Duration = Field(
        default=timedelta(0), description="How long all hold together before they are finalized."
    )
    max_parallel: int = Field(default=10, ge=1, description="Canaries that move at the same time.")
    admission: AdmissionPolicy = AdmissionPolicy()
    environment: str = "default"
    labels: Labels = Field(default_factory=dict)
    source: Text = Field(default="", description="The deploy event: its CloudEvents source and id.")
    reverts: ReleaseId | None = Field(
        default=None,
        exclude_if=lambda release: release is None,
        description="The release that this one takes back; None: it is none that does.",
    )

    @property
    def in_front(self) -> dict[ServiceName, tuple[ServiceName, ...]]:
        """Of each service that is part of the lane, the others of it that call it."""
        members = {name: one for name, one in self.services.items() if one.lane is not None}
        return {
            name: tuple(
                other
                for other, plan in members.items()
                if other != name and (name in plan.depends_on or name in plan.group)
            )
            for name in members
        }

    @property
    def groups(self) -> tuple[tuple[ServiceName, ...], ...]:
        """The groups of services that move in step, each once."""
        return tuple(dict.fromkeys(one.group for one in self.services.values() if one.group))

    @property
    def claims(self) -> tuple[ServiceName, ...]:
        """What no other release may have meanwhile.

        Its services, and the flags beside which they are judged.
        """
        stages = (stage for one in self.services.values() for stage in one.stages)
        looks = (stage for stage in stages if isinstance(stage, FlagsStage))
        flags = (one.flag for stage in looks for one in stage.flags)
        return tuple(dict.fromkeys((*self.services, *flags)))

    @model_serializer(mode="wrap")
    def _write_small(
        self, handler: SerializerFunctionWrapHandler, info: SerializationInfo
    ) -> dict[str, Any]:
        """In JSON, what many services have in common stands there once."""
        if len(self.services) <= FEW or not info.mode_is_json():
            whole: dict[str, Any] = handler(self)
            return whole
        return {**handler(self.model_copy(update={"services": {}})), **share(self.services)}

    @model_validator(mode="before")
    @classmethod
    def _read_small(cls, value: Any) -> Any:
        small = isinstance(value, dict) and not value.keys().isdisjoint({"shared", "packed"})
        return unshare(value) if small else value


class Tuning(Model):
    """Times that tests and the embedded stack shorten; fixed per release so that replay agrees."""

    stuck_after: Duration = Field(
        default=timedelta(seconds=60), description="A rollback older than this is STUCK."
    )
    retry_cap: Duration = Field(
        default=timedelta(seconds=10), description="Longest pause between attempts of a rollback."
    )
    see_quiet: Duration = Field(
        default=timedelta(seconds=1),
        description="After a rollback, how long no request may start on the canary.",
    )
    see_within: Duration = Field(
        default=timedelta(seconds=15),
        description="Requests that still start after so long: the router does not as it confirmed.",
    )
    judge_late: Duration = Field(
        default=timedelta(seconds=15),
        description="How long after a bake's end its last reading may take; then it is not judged.",
    )
    stands_within: Duration = Field(
        default=timedelta(seconds=3),
        description="After a rollback, how long stable may be without a healthy instance.",
    )
    absent_for: Duration = Field(
        default=timedelta(seconds=30),
        description="A route that is missing for so long is none: the first deployment begins.",
    )
    preflight_poll: Duration = Field(
        default=timedelta(seconds=5), description="How often preflight asks for firing alerts."
    )
    ready_within: Duration = Field(
        default=timedelta(minutes=2),
        description="How long a release waits for its services' pools before it begins.",
    )
    admission_poll: Duration = Field(
        default=timedelta(seconds=10),
        description="How often those who wait look whether one they wait for ended without a word.",
    )
    retire_within: Duration = Field(
        default=timedelta(minutes=2),
        description="How long a canary that went back waits until its instances have gone; then "
        "another workflow sees to it.",
    )
    search_attributes: bool = Field(
        default=False,
        description="Whether this Temporal has `schemas.attributes`; the bridge registers them.",
    )
    report: bool = Field(
        default=True,
        description="Whether a worker is asked for a report at the end; it writes one if it has a "
        "folder.",
    )


READ_ME = (
    "Where it is, why, what comes next and what you may do: tab User Metadata. To stop it: "
    "Request Cancellation, or More Actions > Send an Update > rollback."
)
"""First in every input, which is the first that the Temporal UI shows of a workflow."""


class ReleaseInput(Model):
    """Starts a release."""

    read_me: str = READ_ME
    plan: ReleasePlan
    tuning: Tuning = Tuning()
    digest: str = Field(
        default="", description="Of what was asked for, by which another event of its id is told."
    )


class HookState(Model):
    """One call of a hook, as a canary remembers it."""

    id: str
    began: datetime
    hook: KindName
    moment: HookMoment
    step: int | None = None
    """Number from 1 of the step."""
    answer_by: datetime
    answer: HookAnswer | None = None
    over: str = ""
    """Why no answer is waited for any more, in words."""

    @property
    def asked(self) -> AskedHook:
        """As it is shown."""
        return AskedHook(**self.model_dump(exclude={"began"}))


class CanaryState(Model):
    """What one run of a canary hands to the next, when its history has become long."""

    phase: CanaryPhase
    step: int | None
    at: int = Field(ge=0, description="Index from 0 of the stage that was under way.")
    sequence: int
    route: Route | None
    weight: Percent
    apart: bool = Field(
        default=False,
        exclude_if=lambda apart: not apart,
        description="Whether it gets only what no split sends there.",
    )
    whom: str = ""
    unlike: str = ""
    limited: bool = Field(default=False, description="Whether the evidence is of limits only.")
    before: Version | None
    touched: tuple[int, ...] = Field(description="Stages that are to be undone should it go back.")
    first: bool = False
    began_at: datetime | None
    confirmed_at: datetime | None
    exposure: tuple[WeightChange, ...] = ()
    victim_of: tuple[Name, ...] = Field(
        default=(), description="Alerts that it pauses for, and goes on after."
    )
    victim_pause: Text | None = Field(default=None, description="What that pause says.")
    evidence: dict[str, Any] | None
    ramp: dict[str, Any] | None
    ramp_began: datetime | None
    verdict: Verdict | None
    alerts: tuple[str, ...] = Field(description="Identities of the alerts seen, oldest first.")
    alerts_seen: int
    alerted: bool = False
    cause: Cause | None
    pause: Text | None
    go_on: int = 0
    hooks: tuple[HookState, ...] = Field(
        default=(), description="Calls that were begun, the newest 60, oldest first."
    )
    approved: bool
    doubt: Text | None = None
    skip: bool
    let_by: bool = False
    overrule: bool = False
    begin: bool = False
    orders: Generation = 0
    instances: int = 0
    stable_instances: int | None = None
    stable_order: WantedVersion | None = Field(
        default=None, description="By which stable is up, with all of its instances."
    )
    stable_ordered: int | None = Field(
        default=None, description="Instances that stable is to have beside the canary."
    )
    finalize: bool
    decisions: tuple[DecisionRecord, ...] = ()
    measured: tuple[Measured, ...] = Field(
        default=(), description="What the release was not told of."
    )
    measured_number: int = Field(default=0, ge=0, description="Of what is measured next.")


class CanaryInput(Model):
    """Starts a canary."""

    read_me: str = READ_ME
    release: ReleaseId
    plan: ServicePlan
    tuning: Tuning = Tuning()
    environment: str = "default"
    routed: bool = Field(
        default=False,
        description="Whether the service had a route when its release began: one that is missing "
        "is then waited for, and no first deployment.",
    )
    ahead: bool = Field(
        default=False,
        description="Begun before its turn: it puts its version up, and waits for the turn.",
    )
    restore: Cause | None = Field(
        default=None,
        description="Set when an earlier run was terminated: only take its traffic back, for this.",
    )
    promote: bool = Field(
        default=False,
        description="Set when an earlier run was terminated while finalizing: only finalize.",
    )
    resume: CanaryState | None = Field(
        default=None, description="Set when this run continues one whose history became long."
    )


class CanaryReport(Model):
    """A canary's word to its release, on every change of phase."""

    service: ServiceName
    sequence: int = Field(ge=0, description="Grows with every report; an older one is ignored.")
    phase: CanaryPhase
    weight: Percent = 0.0
    copied: Percent = Field(
        default=0.0,
        exclude_if=lambda share: not share,
        description="Share of the requests that are copied to it, percent.",
    )
    whom: str = Field(
        default="",
        exclude_if=lambda name: not name,
        description="Name of the audience whose requests the weight is a share of; empty: "
        "everybody's.",
    )
    step: int | None = Field(default=None, description="Index from 0 of the current step.")
    steps: int = 0
    stable: Version | None = Field(
        default=None, description="The version beside it; once finalized, the one before it."
    )
    waits_for: Text = Field(default="", description="What it waits for, in words.")
    verdict: Verdict | None = Field(default=None, description="The last one.")
    cause: Cause | None = Field(
        default=None, description="Why it goes back or, while holding, why it must."
    )
    paused: bool = False
    point: int = Field(
        default=0, ge=0, description="The last point of its group that it has come to."
    )
    ends_by: tuple[str, ...] = Field(
        default=(), description="Commands that end what it waits for, where only some would."
    )
    picks: tuple[Version, ...] = Field(
        default=(),
        exclude_if=lambda picks: not picks,
        description="Versions of which a person is to pick one, the old one first: the end of an "
        "A/B test. Empty: there is none to be picked.",
    )
    decisions: tuple[DecisionRecord, ...] = Field(
        default=(), description="The newest of what it heard, and what each did, oldest first."
    )
    measured: tuple[Measured, ...] = Field(
        default=(),
        exclude_if=lambda measured: not measured,
        description="What its judge measured since it last told of that, oldest first.",
    )
    at: datetime

    @property
    def gets(self) -> str:
        """What the version has, in a few words: `5 %`, `20 % of staff`, `copies of 25 %`."""
        if self.copied:
            return f"copies of {self.copied:g} %"
        return f"{self.weight:g} %{f' of {self.whom}' if self.whom else ''}"


class CanaryStatus(CanaryReport):
    """Answer of a canary's status query: what it would report now, and more."""

    release: ReleaseId
    version: Version
    route: Route | None
    alerts_seen: int
    hooks: tuple[AskedHook, ...] = ()
    """The hooks that were asked last, oldest first."""


class CanaryOutcome(Model):
    """How a canary ended."""

    summary: Text = Field(default="", description="In one sentence, for people.")
    service: ServiceName
    phase: CanaryPhase = Field(description="FINALIZED or ROLLED_BACK.")
    cause: Cause | None = None
    version: Version | None = Field(default=None, description="The version that serves now.")
    before: WantedVersion | None = Field(
        default=None,
        exclude_if=lambda order: order is None,
        description="By which the version before was up as it was retired: to put it up again.",
    )
    watched_until: datetime | None = Field(
        default=None,
        exclude_if=lambda until: until is None,
        description="How long an alert takes the release back; None: it does not.",
    )
    exposed: Exposed | None = Field(
        default=None,
        exclude_if=lambda exposed: exposed is None,
        description="Which weights it had, and when; None: none.",
    )
    decisions: tuple[DecisionRecord, ...] = Field(
        default=(), description="What it heard, and what each did, oldest first; the newest 20."
    )
    measured: tuple[Measured, ...] = Field(
        default=(),
        exclude_if=lambda measured: not measured,
        description="What its judge measured, and no report told of.",
    )


class ServiceStatus(Model):
    """One service in the status of a release."""

    service: ServiceName
    version: Version
    depends_on: tuple[ServiceName, ...]
    group: tuple[ServiceName, ...] = ()
    """Those that move in step with it, and itself; empty for one that is in no cycle."""
    phase: CanaryPhase
    weight: Percent = 0.0
    copied: Percent = Field(
        default=0.0,
        exclude_if=lambda share: not share,
        description="Share of the requests that are copied to it, percent.",
    )
    whom: str = Field(default="", exclude_if=lambda name: not name)
    """Name of the audience whose requests the weight is a share of; empty: everybody's."""
    step: int | None = None
    steps: int = 0
    stable: Version | None = None
    waits_for: Text = ""
    paused: bool = False
    """Its canary goes no further until resumed, whatever it does meanwhile."""
    ends_by: tuple[str, ...] = ()
    picks: tuple[Version, ...] = Field(default=(), exclude_if=lambda picks: not picks)
    """Versions of which a person is to pick one, the old one first; empty: none."""
    verdict: Verdict | None = None
    cause: Cause | None = None
    watched_until: datetime | None = Field(default=None, exclude_if=lambda until: until is None)
    """Once it is finalized, how long an alert takes its release back."""
    lane: LaneSeen | None = Field(default=None, exclude_if=lambda seen: seen is None)
    """What is known of the release's lane there, from the bakes that have ended."""

    @property
    def gets(self) -> str:
        """What the version has, in a few words: `5 %`, `20 % of staff`, `copies of 25 %`."""
        if self.copied:
            return f"copies of {self.copied:g} %"
        return f"{self.weight:g} %{f' of {self.whom}' if self.whom else ''}"

    def shortened(self, longest: int) -> Self:
        """Without evidence, and with texts of at most so many characters."""
        verdict, cause = self.verdict, self.cause
        if verdict is not None:
            sentence = cut(verdict.sentence, longest)
            verdict = verdict.model_copy(update={"metrics": (), "sentence": sentence})
        if cause is not None:
            cause = cause.brief.model_copy(update={"text": cut(cause.text, longest)})
        waits_for = cut(self.waits_for, longest)
        return self.model_copy(update={"verdict": verdict, "cause": cause, "waits_for": waits_for})


class ReleaseStatus(Model):
    """Answer of a release's status query, and the result of a finished release."""

    summary: Text = Field(default="", description="In one sentence, for people.")
    release: ReleaseId
    phase: ReleasePhase
    paused: bool
    waits_for: Text = Field(default="", description="What a queued release waits for, in words.")
    cause: Cause | None = None
    services: tuple[ServiceStatus, ...] = Field(description="In dependency order.")
    started_at: datetime
    finished_at: datetime | None = None
    labels: dict[str, str] = Field(default_factory=dict)
    reverts: ReleaseId | None = Field(
        default=None,
        exclude_if=lambda release: release is None,
        description="The release that this one takes back.",
    )
    decisions: tuple[DecisionRecord, ...] = Field(
        default=(),
        description="What the release itself heard, and what each did, oldest first; the newest "
        "20.",
    )
    audit: ChainEnd | None = Field(
        default=None, description="End of the hash chain of its events, once it has ended."
    )

    def fitting(self, most: int = STATUS_BYTES) -> Self:
        """All services, with less of each where all of it would be more than `most` bytes."""
        status = self
        for longest in _SHORTER:
            if size_of(status) <= most:
                return status
            services = tuple(one.shortened(longest) for one in status.services)
            status = status.model_copy(update={"services": services})
        if size_of(status) > most:
            less = {"depends_on": (), "group": ()}
            services = tuple(one.model_copy(update=less) for one in status.services)
            status = status.model_copy(update={"services": services})
        return status
