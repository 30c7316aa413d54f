"""What a canary does, as data: the stages in the plan of its service, in the order of its way.

A stage says what is to be done; `workflows/stages` has a module for each kind that does it, and
`workflows/canary_plan.py` decides which is next. A new kind is a model here, a module there, and a
line in each of the two tables.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, ClassVar, Final, Literal

from pydantic import ConfigDict, Field

from schemas.audience import Audience, AudienceShare
from schemas.audience_steps import Reach, Whom
from schemas.base import Duration, Model, Percent, SomeDuration, SomePercent
from schemas.hooks import Hook, HookMoment, OnNo, at
from schemas.judging import RampSpec
from schemas.mirroring import NO_TERMS, MirrorTerms
from schemas.router_spec import RouterSpec
from schemas.step_flags import MOST_FLAGS, WantedFlag
from schemas.strategy import Bake, FullStep, Gate, OnInconclusive, Strategy


class When(StrEnum):
    """Where a stage is done, and left out otherwise."""

    ALWAYS = "always"
    UNROUTED = "unrouted"
    """Only while the service has no route."""
    CHANGED = "changed"
    """Only while the version to release is not the stable one."""


class Effect(StrEnum):
    """What a stage changes, and going back undoes: once for all stages that changed it."""

    TRAFFIC = "traffic"
    FIRST_ROUTE = "first_route"
    INSTANCES = "instances"


UNDONE_FIRST: Final = Effect.TRAFFIC
"""Nothing stands between a cause to go back and the route; others are undone last done first."""


class _Stage(Model):
    """What every stage says of itself."""

    when: ClassVar[When] = When.ALWAYS
    moves: ClassVar[bool] = False
    """Whether it may give the version more requests: a pause holds it, and so does an alert that
    was heard since preflight last asked, as long as the version has none."""
    effect: ClassVar[Effect | None] = None
    """What is undone when the canary goes back; None: nothing."""

    step: int | None = Field(
        default=None, ge=0, description="Index from 0 of the strategy's step that it belongs to."
    )


class DeployStage(_Stage):
    """Put the version up, and wait until its instances are ready: no request is moved."""

    effect: ClassVar[Effect | None] = Effect.INSTANCES

    kind: Literal["deploy"] = "deploy"


class PreflightStage(_Stage):
    """Read the route, and wait until no alert holds the version back."""

    kind: Literal["preflight"] = "preflight"


class HookStage(_Stage):
    """Call a hook, and wait for its answer."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "hook",
                    "step": 0,
                    "moment": "before_step",
                    "hook": {
                        "name": "smoke-test",
                        "when": ["before_step"],
                        "call": {"kind": "http", "connection": "smoke-test"},
                    },
                }
            ]
        }
    )
    when: ClassVar[When] = When.CHANGED

    kind: Literal["hook"] = "hook"
    hook: Hook
    moment: HookMoment = Field(description="Of those of the hook, the one that this is.")


class FirstDeploymentStage(_Stage):
    """Wait for the route, or give a service that has none its first one."""

    when: ClassVar[When] = When.UNROUTED
    moves: ClassVar[bool] = True
    effect: ClassVar[Effect | None] = Effect.FIRST_ROUTE

    kind: Literal["first_deployment"] = "first_deployment"


class RampStage(_Stage):
    """Grow the weight as far as a budget of extra failed requests allows."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "ramp", "spec": {"budget": 100}}]}
    )
    when: ClassVar[When] = When.CHANGED
    moves: ClassVar[bool] = True
    effect: ClassVar[Effect | None] = Effect.TRAFFIC

    kind: Literal["ramp"] = "ramp"
    spec: RampSpec
    on_inconclusive: OnInconclusive = OnInconclusive.GATE


class FlagsStage(_Stage):
    """See that everybody has these variants of flags, before a step or once it was judged."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "kind": "flags",
                    "step": 0,
                    "flags": [
                        {
                            "flag": "new-checkout",
                            "variant": "off",
                            "router": {"kind": "flagd", "file": "/var/lib/aviary/flags.json"},
                        }
                    ],
                }
            ]
        }
    )
    when: ClassVar[When] = When.CHANGED

    kind: Literal["flags"] = "flags"
    flags: tuple[WantedFlag, ...] = Field(min_length=1, max_length=MOST_FLAGS)
    judged: bool = Field(
        default=False,
        exclude_if=lambda judged: not judged,
        description="Whether the step was judged by then.",
    )
    on_inconclusive: OnInconclusive = OnInconclusive.GATE


class PreviewStage(_Stage):
    """Let those who ask for the version by header or cookie have it; no user gets it."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "preview", "step": 0}]})
    when: ClassVar[When] = When.CHANGED
    moves: ClassVar[bool] = True
    effect: ClassVar[Effect | None] = Effect.TRAFFIC

    kind: Literal["preview"] = "preview"


class MirrorStage(_Stage):
    """Send the version copies of requests, whose answers go to nobody; no user gets it."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "mirror", "step": 0, "share": 25}]}
    )
    when: ClassVar[When] = When.CHANGED
    moves: ClassVar[bool] = True
    effect: ClassVar[Effect | None] = Effect.TRAFFIC

    kind: Literal["mirror"] = "mirror"
    share: SomePercent = Field(description="Share of the requests that are copied, percent.")
    terms: MirrorTerms = Field(default=NO_TERMS, description="Which copies it can take.")


class ShiftStage(_Stage):
    """Give the version a share of the requests."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "shift", "step": 0, "weight": 5}]}
    )
    when: ClassVar[When] = When.CHANGED
    moves: ClassVar[bool] = True
    effect: ClassVar[Effect | None] = Effect.TRAFFIC

    kind: Literal["shift"] = "shift"
    weight: Percent = Field(description="Share of the requests, percent.")
    whom: str = Field(
        default="",
        exclude_if=lambda name: not name,
        description="Name of the audience whose requests are meant; empty: everybody's.",
    )
    audience: Audience | None = Field(default=None, exclude_if=lambda one: one is None)
    adds: str = Field(
        default="", exclude_if=lambda text: not text, description="Whom it adds, for a person."
    )
    kept: tuple[AudienceShare, ...] = Field(
        default=(),
        exclude_if=lambda kept: not kept,
        description="Whom the version is for besides, since an earlier step.",
    )
    unlike: str = Field(
        default="",
        exclude_if=lambda why: not why,
        description="Why the version can't be compared with stable in the same audience: it is "
        "judged by limits only then. Empty: it can.",
    )
    regrow_within: SomeDuration | None = Field(
        default=None,
        exclude_if=lambda within: within is None,
        description="Once the router has confirmed, stable has instances for its share alone; "
        "going back waits so long for it to have all again. None: stable keeps its size.",
    )


class BakeStage(_Stage):
    """Hold the weight, and judge the version against stable."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "bake", "step": 0, "bake": "1m"}]}
    )
    when: ClassVar[When] = When.CHANGED

    kind: Literal["bake"] = "bake"
    bake: Bake
    next_weight: Percent = Field(
        default=100.0, gt=0, description="Share that the version gets next: what is risked."
    )
    on_inconclusive: OnInconclusive = OnInconclusive.GATE
    hooks: tuple[Hook, ...] = Field(default=(), description="Called as it begins.")
    compare: str = Field(
        default="",
        exclude_if=lambda name: not name,
        description="Of an A/B test: the metric that decides which version is better, and so may "
        "end the bake. Empty: it is none.",
    )


class GateStage(_Stage):
    """Ask a person where the strategy does, or where what came before was in doubt."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "gate", "step": 0, "gate": "go on?"}]}
    )
    when: ClassVar[When] = When.CHANGED

    kind: Literal["gate"] = "gate"
    gate: Gate | None = Field(
        default=None,
        description="The strategy's question; None: only where a bake or a hook left a doubt.",
    )
    picks: bool = Field(
        default=False,
        exclude_if=lambda picks: not picks,
        description="Whether a person picks the winner of an A/B test there: approve is the new "
        "version, rollback the other one.",
    )


class InStepStage(_Stage):
    """Keep the weight until all services of the group have ended the step, and judge on."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"kind": "in_step", "step": 0, "point": 1}]}
    )
    when: ClassVar[When] = When.CHANGED

    kind: Literal["in_step"] = "in_step"
    point: int = Field(
        ge=1, description="Number from 1 of the point to which all of the group come: ended steps."
    )


class HoldStage(_Stage):
    """Keep what was reached until the release says that its services become stable."""

    kind: Literal["hold"] = "hold"


class PromoteStage(_Stage):
    """Make the version the stable one: the point of no return."""

    kind: Literal["promote"] = "promote"


class RetireStage(_Stage):
    """Have the version that was stable taken down, some time later; no lock is kept for that."""

    kind: Literal["retire"] = "retire"


class WatchStage(_Stage):
    """Have the version watched for some time, now that it is stable; no lock is kept for that."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "watch", "alerts": "1m"}]})

    kind: Literal["watch"] = "watch"
    lasts: Duration = Field(
        default=timedelta(0), description="How long alerts and limits take the release back."
    )
    alerts: Duration = Field(
        default=timedelta(0), description="How long alerts do, where that is longer."
    )


class StaleStage(_Stage):
    """Have somebody told once everybody has had the flag's variant for so long."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"kind": "stale", "after": "30d"}]})

    kind: Literal["stale"] = "stale"
    after: SomeDuration


Stage = Annotated[
    DeployStage
    | PreflightStage
    | HookStage
    | FirstDeploymentStage
    | RampStage
    | FlagsStage
    | PreviewStage
    | MirrorStage
    | ShiftStage
    | BakeStage
    | GateStage
    | InStepStage
    | HoldStage
    | PromoteStage
    | RetireStage
    | WatchStage
    | StaleStage,
    Field(discriminator="kind"),
]
"""One thing that a canary does; `kind` says which."""

KINDS: Final[dict[str, type[_Stage]]] = {
    "deploy": DeployStage,
    "preflight": PreflightStage,
    "hook": HookStage,
    "first_deployment": FirstDeploymentStage,
    "ramp": RampStage,
    "flags": FlagsStage,
    "preview": PreviewStage,
    "mirror": MirrorStage,
    "shift": ShiftStage,
    "bake": BakeStage,
    "gate": GateStage,
    "in_step": InStepStage,
    "hold": HoldStage,
    "promote": PromoteStage,
    "retire": RetireStage,
    "watch": WatchStage,
    "stale": StaleStage,
}
"""Every kind, in the order in which a canary comes to it."""


def stages_of(  # noqa: PLR0913 - what a plan is made of
    strategy: Strategy,
    last_point: int = 0,
    hooks: Sequence[Hook] = (),
    *,
    deploys: bool = False,
    mirror: MirrorTerms = NO_TERMS,
    whom: Whom = Whom(),  # noqa: B008 - frozen
    flags: Mapping[str, RouterSpec] = MappingProxyType({}),
    revert_within: timedelta = timedelta(0),
    stale_after: timedelta | None = None,
) -> tuple[Stage, ...]:
    """The stages of a strategy: what a canary with it does, when nothing goes wrong.

    Args:
        strategy: of the service.
        last_point: of its group, where all come together before they hold; 0 without a group.
        hooks: of the service.
        deploys: whether its versions are put up and taken down, and not by a pipeline.
        mirror: which copies its versions can take.
        whom: the audiences that the strategy names.
        flags: the router of each feature flag that its steps name.
        revert_within: how long after its end an alert takes the release back, at least.
        stale_after: how long a flag is fully on until somebody is told; None: nobody is.
    """
    watched = strategy.watch or revert_within
    regrow = strategy.regrow_within if strategy.shrink_stable and deploys else None
    return (
        *((DeployStage(),) if deploys else ()),
        PreflightStage(),
        *_asked(hooks, HookMoment.BEFORE_CANARY),
        FirstDeploymentStage(),
        *(_ramp(strategy, hooks) if strategy.ramp is not None else ()),
        *_steps(strategy, last_point, hooks, _given(strategy, whom, mirror, regrow), flags),
        *_asked(hooks, HookMoment.BEFORE_FINALIZE),
        HoldStage(),
        PromoteStage(),
        *((RetireStage(),) if deploys else ()),
        *((WatchStage(lasts=strategy.watch, alerts=revert_within),) if watched else ()),
        *((StaleStage(after=stale_after),) if stale_after is not None else ()),
    )


def _ramp(strategy: Strategy, hooks: Sequence[Hook]) -> Iterator[Stage]:
    """A ramp is one step, which ends as it has all requests."""
    if strategy.ramp is not None:
        yield from _asked(hooks, HookMoment.BEFORE_STEP, 0)
        yield RampStage(spec=strategy.ramp, on_inconclusive=strategy.on_inconclusive)
        if strategy.on_inconclusive is OnInconclusive.GATE:
            yield GateStage()


def _steps(
    strategy: Strategy,
    last_point: int,
    hooks: Sequence[Hook],
    given: Sequence[Stage],
    flags: Mapping[str, RouterSpec],
) -> Iterator[Stage]:
    unsure, steps = strategy.on_inconclusive, strategy.full_steps
    compare = "" if strategy.ab is None else strategy.ab.metric
    baking = at(hooks, HookMoment.DURING_BAKE)
    for index, step in enumerate(steps):
        if last_point and index:
            yield InStepStage(step=index - 1, point=index)
        if strategy.ramp is None:
            yield from _asked(hooks, HookMoment.BEFORE_STEP, index)
        wanted = _wanted(step, flags)
        yield from _looked_at(wanted, index, unsure)
        yield given[index]
        asked: tuple[Hook, ...] = ()
        if step.bake.max:
            following = next(one.weight for one in (*steps[index + 1 :], steps[-1]) if one.weight)
            yield BakeStage(
                step=index,
                bake=step.bake,
                next_weight=following,
                on_inconclusive=unsure,
                hooks=baking,
                compare=compare,
            )
            asked = baking
            if wanted:
                yield FlagsStage(step=index, flags=wanted, judged=True, on_inconclusive=unsure)
        after = at(hooks, HookMoment.AFTER_STEP)
        yield from _stages(after, HookMoment.AFTER_STEP, index)
        in_doubt = (unsure is OnInconclusive.GATE and step.bake.max) or _gates((*asked, *after))
        if step.gate is not None or in_doubt:
            picks = bool(compare) and step.gate is not None
            yield GateStage(step=index, gate=step.gate, picks=picks)
    if last_point:
        yield InStepStage(step=len(steps) - 1, point=last_point)


def _wanted(step: FullStep, flags: Mapping[str, RouterSpec]) -> tuple[WantedFlag, ...]:
    return tuple(
        WantedFlag(flag=name, variant=variant, router=flags[name])
        for name, variant in step.flags.root.items()
    )


def _looked_at(
    wanted: tuple[WantedFlag, ...], step: int, unsure: OnInconclusive
) -> Iterator[Stage]:
    """The look before a step, and the gate for a flag that is otherwise."""
    if wanted:
        yield FlagsStage(step=step, flags=wanted, on_inconclusive=unsure)
        if unsure is OnInconclusive.GATE:
            yield GateStage(step=step)


def _given(
    strategy: Strategy, whom: Whom, mirror: MirrorTerms, regrow: timedelta | None
) -> list[Stage]:
    """What each step gives the version."""
    both = zip(strategy.full_steps, strategy.reaches(whom.audiences), strict=True)
    found: list[Stage] = []
    for index, (step, reach) in enumerate(both):
        if step.mirror is not None:
            found.append(MirrorStage(step=index, share=step.mirror, terms=mirror))
        elif not step.weight:
            found.append(PreviewStage(step=index))
        else:
            found.append(_shift(index, reach, whom, regrow))
    return found


def _shift(index: int, reach: Reach, whom: Whom, regrow: timedelta | None) -> ShiftStage:
    return ShiftStage(
        step=index,
        weight=reach.weight,
        whom=reach.name,
        audience=reach.audience,
        adds=reach.adds if whom.audiences else "",
        kept=reach.kept,
        unlike=_unlike(reach, whom.unlike),
        regrow_within=regrow,
    )


def _unlike(reach: Reach, metrics: str) -> str:
    """Why a step can't compare canary and stable among the same requests; empty: it can."""
    if reach.audience is None and not reach.kept:
        return ""
    if reach.all_of_it:
        return f"nobody of {reach.name} is on stable"
    return metrics


def _asked(hooks: Sequence[Hook], moment: HookMoment, step: int | None = None) -> Iterator[Stage]:
    """The calls of a moment, and the gate for a no of those that ask a person then."""
    found = at(hooks, moment)
    yield from _stages(found, moment, step)
    if _gates(found):
        yield GateStage(step=step)


def _stages(hooks: Sequence[Hook], moment: HookMoment, step: int | None) -> Iterator[Stage]:
    return (HookStage(hook=hook, moment=moment, step=step) for hook in hooks)


def _gates(hooks: Sequence[Hook]) -> bool:
    return any(hook.refused is OnNo.GATE for hook in hooks)


def steps_in(stages: Sequence[Stage]) -> int:
    """How many steps of the strategy there are: each gives the version something more."""
    return sum(isinstance(one, PreviewStage | MirrorStage | ShiftStage) for one in stages)


def first_share(stages: Sequence[Stage]) -> float:
    """The first share of the requests that its instances are to take, percent; of a ramp 0."""
    for one in stages:
        if isinstance(one, MirrorStage):
            return one.share
        if isinstance(one, ShiftStage):
            return one.weight
    return 0.0


def point_at(stages: Sequence[Stage], at: int) -> int:
    """The last point of its group that a canary has come to; 0 for none.

    Args:
        stages: of the canary.
        at: index of the stage that it has come to.
    """
    return max((one.point for one in stages[: at + 1] if isinstance(one, InStepStage)), default=0)
