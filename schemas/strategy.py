"""How a service is released: the steps of a strategy, their bakes and gates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.ab import HALF, AbSpec
from schemas.audience_spec import (
    EVERYBODY,
    AudienceName,
    NamedAudience,
)
from schemas.audience_steps import Reach, reaches
from schemas.base import (
    DURATION_SCHEMA,
    PERCENT_SCHEMAS,
    Duration,
    Model,
    Percent,
    SomeDuration,
    SomePercent,
    parse_duration,
)
from schemas.catalog_check import (
    MISSING,
    Finding,
    check_weights,
    refuse,
)
from schemas.hooks import Hooks
from schemas.judging import RampSpec
from schemas.lease import DEFAULT, Lease
from schemas.mirroring import check_switch, check_unseen_first, mixes_users
from schemas.step_flags import NO_FLAGS, StepFlags
from schemas.sticky import Sticky

_DURATION_SCHEMA: JsonSchemaValue = {
    **DURATION_SCHEMA,
    "description": "A duration: min = max.",
}
_FULL = 100.0


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
    flags: StepFlags = Field(
        default=NO_FLAGS,
        exclude_if=lambda flags: not flags,
        description="Feature flags that depend on the service, and the variant that everybody has "
        "while the step is judged: {new-checkout: off}.",
    )

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
    flags: StepFlags = Field(default=NO_FLAGS, exclude_if=lambda flags: not flags)
    """Feature flags, and the variant that everybody has while it is judged."""

    @property
    def text(self) -> str:
        """What the version gets, in a few words: `5 % of staff`, `copies of 25 %`, `preview`.

        And with which flags: `5 % with new-checkout off`.
        """
        beside = f" with {self.flags.text}" if self.flags else ""
        if self.mirror is not None:
            return f"copies of {self.mirror:g} %{beside}"
        if not self.weight:
            return f"preview{beside}"
        return f"{self.weight:g} %{f' of {self.audience}' if self.audience else ''}{beside}"

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
    AB = "ab"
    """Half of them for some time; then a person picks the version that gets all."""


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
        description="blue_green: no user gets the version before all do, in one switch. ab: half "
        "of them get it for some time, and a person picks the winner.",
    )
    ab: AbSpec | None = Field(
        default=None,
        exclude_if=_is_none,
        description="With shape ab, instead of steps: what decides, and how long.",
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
    watch: Duration = Field(
        default=timedelta(0),
        exclude_if=lambda length: not length,
        description="How long after its end an alert, or a limit that is crossed, takes the "
        "release back.",
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
    lease: Lease = Field(
        default=DEFAULT,
        exclude_if=lambda one: one == DEFAULT,
        description="How long a canary may go without a sign of life of its release until the "
        "sentinel gives stable everything, 5s to 24h; off: for ever.",
    )
    hooks: Hooks = Field(
        default=(), description="Beside those of the catalog and of the service that has it."
    )

    model_config = ConfigDict(
        json_schema_extra={
            "oneOf": [
                {
                    "required": ["steps"],
                    "properties": {
                        "steps": {"minItems": 1},
                        "ramp": {"type": "null"},
                        "ab": {"type": "null"},
                    },
                },
                {
                    "required": ["ramp"],
                    "properties": {
                        "steps": {"maxItems": 0},
                        "ramp": {"type": "object"},
                        "ab": {"type": "null"},
                    },
                },
                {
                    "required": ["shape"],
                    "properties": {
                        "shape": {"const": "blue_green"},
                        "steps": {"maxItems": 0},
                        "ramp": {"type": "null"},
                        "ab": {"type": "null"},
                    },
                },
                {
                    "required": ["shape", "ab"],
                    "properties": {
                        "shape": {"const": "ab"},
                        "ab": {"type": "object"},
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
            refuse(
                "Strategy",
                check_switch(weights, audiences, ramps=ramps, shrinks=self.shrink_stable),
            )
        elif self.shape is Shape.AB:
            refuse("Strategy", self._unlike_a_test())
        elif bool(self.steps) == (self.ramp is not None):
            raise ValueError("expected either steps or ramp, and not both")
        if self.audience is not None and (self.ramp is not None or self.switches):
            raise ValueError("audience: expected steps: a ramp, or a switch, is for everybody")
        if self.shrink_stable and self.ramp is not None:
            raise ValueError("shrink_stable: expected steps: a ramp may give weight back")
        if self.ab is not None and self.shape is not Shape.AB:
            raise ValueError("ab: expected with shape: ab")
        return self

    def _unlike_a_test(self) -> Iterator[Finding]:
        """Give what does not go with an A/B test."""
        if self.ab is None:
            yield Finding(("ab",), MISSING, "metric and lasts, which shape ab goes by")
        if self.steps:
            yield Finding(("steps",), "steps", "none with shape ab: half of the users, then all")
        if self.ramp is not None:
            yield Finding(("ramp",), "a ramp", "none with shape ab: half of the users, then all")
        if self.on_inconclusive is not OnInconclusive.GATE:
            expected = "gate with shape ab: a person picks the winner"
            yield Finding(("on_inconclusive",), self.on_inconclusive.value, expected)
        if self.sticky is not None and self.sticky.nothing:
            expected = "user, session or address with shape ab: each user has one version"
            yield Finding(("sticky",), "nothing", expected)

    @property
    def given_steps(self) -> tuple[Step, ...]:
        """The steps as they are written; of an A/B test what it stands for."""
        if self.ab is None:
            return self.steps
        bake = Bake(min=self.ab.at_least, max=self.ab.lasts)
        return (Step(weight=HALF, bake=bake, gate=Gate()),)

    @model_validator(mode="after")
    def _weights_grow(self) -> Self:
        weights = [step.weight for step in self.steps]
        whom = [self.whom(step) for step in self.steps]
        refuse("Strategy", check_weights(weights, (), whom))
        refuse("Strategy", check_unseen_first(weights))
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
        steps = self.given_steps
        weights = [one.weight for one in steps]
        return mixes_users(weights, list(map(self.whom, steps)), ramps=self.ramp is not None)

    @property
    def bakes(self) -> bool:
        """Whether a weight is held for some time, in which it is judged."""
        return any((step.bake or self.bake).max > timedelta(0) for step in self.given_steps)

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
                flags=step.flags,
            )
            for step in self.given_steps
        ]
        if self.switches and (not steps or steps[0].weight):
            steps.insert(0, FullStep(weight=0.0, bake=Bake(max=timedelta(0))))
        if not steps or steps[-1].weight < _FULL or steps[-1].audience is not None:
            steps.append(FullStep(weight=_FULL, bake=Bake(max=timedelta(0))))
        return tuple(steps)


STANDARD = Strategy.model_validate(
    {"steps": [1, 5, 25, 50], "bake": {"min": "1m", "max": "10m"}, "soak": "5m"}
)
"""The strategy of services that name none; a catalog may define its own `standard`."""

BUILT_IN: dict[str, Strategy] = {"standard": STANDARD}
"""Strategies that every catalog has."""
