"""Hooks: systems that are asked, or told, at named moments of a canary.

Here belongs what a catalog says of one, what it is sent, and what it answers. How it is reached
does not (`adapters/hooks`), nor what an answer does (`workflows/hooks.py`).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    ConfigDict,
    Field,
    JsonValue,
    ValidationError,
    WithJsonSchema,
    model_validator,
)

from schemas.base import Model, Percent, ReleaseId, ServiceName, SomeDuration, Version
from schemas.deploy_spec import DeploySpec
from schemas.deployment import WantedVersion
from schemas.outside import Name, Text
from schemas.router_spec import KindName, OfKind, RouterKinds

HOOKS_MOST: Final = 20
"""Hooks of one list; a service has those of three lists at the most."""
OUTPUT_MOST: Final = 20
"""Last lines of a command's output that are kept."""
RUN: Final = "run"
"""The kind of hooks that are commands: what is called knows the version that it runs with."""
CONTRACT_AFTER: Final = timedelta(hours=24)
HOOK_EVENT: Final = "dev.aviary.hook.called.v1"
"""The CloudEvents type of what a hook is sent."""


class HookMoment(StrEnum):
    """When a hook is called; a closed set."""

    BEFORE_CANARY = "before_canary"
    """Preflight is done, and no request goes to the version yet."""
    BEFORE_STEP = "before_step"
    """Right before the weight of a step is written."""
    DURING_BAKE = "during_bake"
    """As a bake begins, beside the judge."""
    AFTER_STEP = "after_step"
    """The bake of a step is done; before its gate."""
    BEFORE_FINALIZE = "before_finalize"
    """The last step is done, and the canary is about to hold."""
    AFTER_FINALIZED = "after_finalized"
    """The version is stable."""
    CONTRACT = "contract"
    """The version has been stable for long (`contract_after`), and no alert fired on the service:
    what only the version before needs may go."""
    BEFORE_ROLLBACK = "before_rollback"
    """The canary begins to go back: beside the route write, which never waits for it."""
    AFTER_ROLLED_BACK = "after_rolled_back"
    """Stable has all requests again, and that was verified."""

    @property
    def asks(self) -> bool:
        """Whether the canary waits for the answer, and a no can do something."""
        return self not in _TOLD

    @property
    def in_step(self) -> bool:
        """Whether it comes once for each step."""
        return self in _IN_STEP


_TOLD: Final = frozenset(
    {
        HookMoment.AFTER_FINALIZED,
        HookMoment.CONTRACT,
        HookMoment.BEFORE_ROLLBACK,
        HookMoment.AFTER_ROLLED_BACK,
    }
)
_GONE: Final = frozenset({HookMoment.BEFORE_ROLLBACK, HookMoment.AFTER_ROLLED_BACK})
"""Moments whose version may be gone at any time."""
_IN_STEP: Final = frozenset({HookMoment.BEFORE_STEP, HookMoment.DURING_BAKE, HookMoment.AFTER_STEP})


class OnNo(StrEnum):
    """What a no does, and no answer in time; a closed set."""

    ROLL_BACK = "roll_back"
    GATE = "gate"
    """A person decides."""
    IGNORE = "ignore"
    """It is recorded."""


class HookCall(OfKind):
    """What is called; `kind` says how."""

    @classmethod
    def _checked(cls, kinds: RouterKinds, written: Mapping[str, Any]) -> dict[str, JsonValue]:
        return kinds.checked_hook(written)


_MOMENT: Final[dict[str, JsonValue]] = {
    "type": "string",
    "enum": [moment.value for moment in HookMoment],
}
Moments = Annotated[
    tuple[HookMoment, ...],
    Field(min_length=1, max_length=len(HookMoment)),
    WithJsonSchema(
        {
            "anyOf": [
                _MOMENT,
                {"type": "array", "items": _MOMENT, "minItems": 1, "uniqueItems": True},
            ],
            "description": "When it is called: one moment, or a list of them.",
        }
    ),
]
"""Moments, each once; written as one, or as a list."""


class Hook(Model):
    """One hook, as a catalog says it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "name": "smoke-test",
                    "when": "before_canary",
                    "call": {"kind": "http", "connection": "smoke-test"},
                }
            ]
        }
    )

    name: KindName = Field(description="Shown, and part of what makes a call once-only.")
    when: Moments
    call: HookCall
    on_no: OnNo | None = Field(
        default=None,
        description="What a no does, or no answer by the deadline. Left out: `roll_back`; at "
        "moments that ask nothing it is recorded.",
    )
    deadline: SomeDuration = Field(
        default=timedelta(minutes=5), description="From the first call; no answer by then is a no."
    )
    retries: int | None = Field(
        default=None,
        ge=1,
        le=1000,
        description="How often a call without an answer is made again; left out: to the deadline.",
    )
    contract_after: SomeDuration | None = Field(
        default=None,
        description="How long after the version became stable the moment `contract` is; left out: "
        "24h.",
    )
    makes_traffic: bool = Field(
        default=False,
        description="Whether it makes the requests that are judged (a load generator): each "
        "verdict then says so.",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        if isinstance(value, dict) and isinstance(value.get("when"), str):
            return {**value, "when": [value["when"]]}
        return value

    @model_validator(mode="after")
    def _sensible(self) -> Self:
        if len(set(self.when)) < len(self.when):
            raise ValueError("expected each moment of when once")
        if self.on_no not in {None, OnNo.IGNORE} and not any(one.asks for one in self.when):
            raise ValueError("expected on_no: ignore, since a no comes too late at these moments")
        if self.call.kind == RUN and not _GONE.isdisjoint(self.when):
            gone = " and ".join(sorted(_GONE))
            raise ValueError(f"expected kind {RUN} not at {gone}: its version is taken down then")
        if self.contract_after is not None and HookMoment.CONTRACT not in self.when:
            raise ValueError("expected contract_after only with the moment contract")
        if self.makes_traffic and HookMoment.DURING_BAKE not in self.when:
            raise ValueError("expected makes_traffic only with the moment during_bake")
        return self

    @property
    def refused(self) -> OnNo:
        """What a no does where it can do something."""
        return self.on_no or OnNo.ROLL_BACK


def _each_name_once(hooks: tuple[Hook, ...]) -> tuple[Hook, ...]:
    names = [hook.name for hook in hooks]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"expected each name of a hook once, got {', '.join(twice)} again")
    return hooks


Hooks = Annotated[tuple[Hook, ...], Field(max_length=HOOKS_MOST), AfterValidator(_each_name_once)]
"""The hooks of a section of the catalog, called in this order."""


def at(hooks: Iterable[Hook], moment: HookMoment) -> tuple[Hook, ...]:
    """Those of a moment, in their order."""
    return tuple(hook for hook in hooks if moment in hook.when)


# --- what it is sent ---


class RunsBeside(Model):
    """The version that a command runs with, and who runs it."""

    deploy: DeploySpec
    wanted: WantedVersion


class HookData(Model):
    """What a hook is told."""

    hook: KindName
    moment: HookMoment
    environment: str
    release: ReleaseId
    service: ServiceName
    version: Version = Field(description="The version to release.")
    stable: Version | None = Field(description="The one that serves beside it, where there is one.")
    step: int | None = Field(default=None, ge=1, description="Number from 1 of the step.")
    steps: int = Field(default=0, ge=0, description="How many steps there are.")
    weight: Percent = Field(description="Share of the requests that the version has now, percent.")
    cause: Text = Field(default="", description="Why it goes back, where it does.")
    needs: str = Field(
        default="", description="What the version needs of what the hook is named after."
    )
    answer_by: AwareDatetime = Field(description="No answer by then is a no.")
    answer_url: str = Field(
        default="", description="Where an answer that comes later is posted to, where it may be."
    )
    answer_token: str = Field(default="", description="The bearer token that it is posted with.")


class HookEvent(Model):
    """A CloudEvent to a hook; a call that is made again has the same id and the same content."""

    specversion: Literal["1.0"] = "1.0"
    type: Literal["dev.aviary.hook.called.v1"] = HOOK_EVENT
    source: str = Field(min_length=1)
    id: str = Field(min_length=1)
    time: AwareDatetime
    subject: ServiceName
    datacontenttype: Literal["application/json"] = "application/json"
    data: HookData

    def wire(self) -> bytes:
        """The event in CloudEvents' JSON format (structured mode)."""
        return self.model_dump_json(exclude_none=True).encode()


def call_id(  # noqa: PLR0913 - each is a part of what is called once
    *,
    environment: str,
    release: str,
    service: str,
    hook: str,
    moment: HookMoment,
    step: int | None,
) -> str:
    """What a call is known by, however often it is made: `webhook-id`, and the event's id.

    It depends on nothing else: not on the worker, the attempt, the run or the time. Characters are
    letters and digits and one `_`, as the header takes them.
    """
    parts = [environment, release, service, hook, moment.value, step]
    text = json.dumps(parts, ensure_ascii=True, separators=(",", ":"))
    return f"msg_{hashlib.sha256(text.encode()).hexdigest()[:40]}"


# --- what it answers ---


class Said(StrEnum):
    """What a hook answers; a closed set."""

    YES = "yes"
    NO = "no"
    LATER = "later"
    """It has taken the question, and the answer comes later."""


CallId = Annotated[
    str,
    Field(min_length=1, max_length=100, description="What a call is known by: the event's id."),
]


class HookAnswer(Model):
    """An answer, with its reason."""

    said: Said
    reason: Text = ""
    ask_again: SomeDuration | None = Field(
        default=None, description="Of `later`: when to ask again; None: as one sees fit."
    )
    ask_at: str = Field(
        default="",
        exclude=True,  # an address, which no history has
        description="Of `later`: where the answer will be; else the event is sent again.",
    )
    has: Name = Field(
        default="", description="Which there is of what is needed (`needs`), where it is asked."
    )
    stable_works: bool | None = Field(
        default=None, description="Whether the stable version works with that, and what is in it."
    )
    exit_code: int | None = Field(default=None, description="Of a command.")
    output: tuple[Text, ...] = Field(
        default=(), max_length=OUTPUT_MOST, description="The last lines of a command's output."
    )

    @property
    def short(self) -> Self:
        """Without its output, which the history of the call keeps."""
        return self.model_copy(update={"output": ()})


class LateAnswer(Model):
    """The answer to a call that was answered with `later`."""

    id: CallId
    verdict: Literal["yes", "no"]
    reason: Text = ""
    by: Name = Field(default="", description="Who says it.")

    @classmethod
    def of(cls, value: Any) -> Self | None:
        """Whatever was sent, as an answer; None where it is none."""
        try:
            return value if isinstance(value, cls) else cls.model_validate(value)
        except ValidationError:
            return None

    @property
    def answer(self) -> HookAnswer:
        """As if it had been given at once."""
        reason = f"{self.reason} ({self.by})" if self.by and self.reason else self.reason or self.by
        return HookAnswer(said=Said(self.verdict), reason=reason)


class NotTaken(StrEnum):
    """Why an answer that comes later is not taken; a closed set."""

    UNFIT = "unfit"
    """It is none."""
    UNKNOWN = "unknown"
    """The call is none of this canary."""
    ALIKE = "alike"
    """The call was answered already, and alike: whoever says it twice has been heard."""
    OTHERWISE = "otherwise"
    """The call was answered already, otherwise."""
    TOO_LATE = "too_late"
    """Nobody waits for it any more."""


class Untaken(Model):
    """An answer that was not taken."""

    why: NotTaken
    text: str


class AskedHook(Model):
    """One call of a hook that is asked, as its canary shows it."""

    id: CallId
    hook: KindName
    moment: HookMoment
    step: int | None = Field(default=None, description="Number from 1 of the step.")
    answer_by: AwareDatetime
    answer: HookAnswer | None = None
    over: Text = Field(default="", description="Why nobody waits for an answer any more.")

    @property
    def waits(self) -> bool:
        """Whether an answer would be taken."""
        return self.answer is None and not self.over
