"""What an event of a release means for the templates that it is about: pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from schemas.event_kinds import EventType
from schemas.outside import cut, one_line

TEXT_MOST: Final = 900
"""Characters of a text on a template; the API takes 1,024 of an Event."""


class State(StrEnum):
    """Where the newest version of a template is; a closed set, which health checks read."""

    REQUESTED = "Requested"
    """Its deploy event is on Kafka."""
    QUEUED = "Queued"
    PROGRESSING = "Progressing"
    PAUSED = "Paused"
    """A person has to say something."""
    HOLDING = "Holding"
    """It has all requests, and waits for the rest of its release."""
    ROLLING_BACK = "RollingBack"
    ROLLED_BACK = "RolledBack"
    STUCK = "Stuck"
    FINALIZED = "Finalized"
    REFUSED = "Refused"
    """It can't be acted upon: the text says which field is wrong."""

    @property
    def is_failure(self) -> bool:
        """Whether it stays so until somebody does something."""
        return self in {State.ROLLED_BACK, State.STUCK, State.REFUSED}


@dataclass(frozen=True)
class Report:
    """What a template is told of the release of its newest version."""

    state: State
    text: str
    reason: str = ""
    """Of the Kubernetes Event; empty: none is written."""

    @property
    def is_warning(self) -> bool:
        """How the Event is shown."""
        return self.state.is_failure or self.state in {State.PAUSED, State.ROLLING_BACK}


@dataclass(frozen=True)
class Heard:
    """An event of a release, as far as templates are concerned."""

    release: str
    service: str
    """Empty: of all its services."""
    report: Report


_RELEASE: Final[dict[str, tuple[State, str, str]]] = {
    EventType.RELEASE_QUEUED: (State.QUEUED, "", "waits for its turn"),
    EventType.RELEASE_STARTED: (State.PROGRESSING, "ReleaseStarted", "has begun"),
    EventType.RELEASE_SOAKING: (State.HOLDING, "", "all its services hold, and soak together"),
    EventType.RELEASE_FINALIZING: (State.PROGRESSING, "", "its versions become stable"),
    EventType.RELEASE_FINALIZED: (State.FINALIZED, "ReleaseFinalized", "its versions are stable"),
    EventType.RELEASE_ROLLINGBACK: (State.ROLLING_BACK, "ReleaseRollingBack", "goes back"),
    EventType.RELEASE_ROLLEDBACK: (State.ROLLED_BACK, "ReleaseRolledBack", "went back"),
    EventType.RELEASE_PAUSED: (State.PAUSED, "ReleasePaused", "is paused"),
    EventType.RELEASE_RESUMED: (State.PROGRESSING, "ReleaseResumed", "goes on"),
    EventType.DEPLOY_STALE: (
        State.REFUSED,
        "ReleaseStale",
        "was asked for too long ago (AVIARY_DEPLOY_MAX_AGE_S): change the template again",
    ),
}
_CANARY: Final[dict[str, tuple[State, str, str]]] = {
    EventType.CANARY_DEPLOYING: (State.PROGRESSING, "", "is put up"),
    EventType.CANARY_PREPARED: (State.PROGRESSING, "", "is ready ahead of its turn"),
    EventType.CANARY_PREFLIGHT: (State.PROGRESSING, "", "begins"),
    EventType.CANARY_CHECKING: (State.PROGRESSING, "", "is checked by a hook"),
    EventType.CANARY_SHIFTED: (State.PROGRESSING, "", "was given requests"),
    EventType.CANARY_BAKING: (State.PROGRESSING, "", "is judged"),
    EventType.CANARY_GATED: (State.PAUSED, "CanaryGated", "needs approval"),
    EventType.CANARY_PAUSED: (State.PAUSED, "CanaryPaused", "is paused"),
    EventType.CANARY_HOLDING: (State.HOLDING, "CanaryHolding", "holds"),
    EventType.CANARY_FINALIZED: (State.FINALIZED, "CanaryFinalized", "is stable"),
    EventType.CANARY_ROLLINGBACK: (State.ROLLING_BACK, "CanaryRollingBack", "goes back"),
    EventType.CANARY_RETIRING: (State.ROLLING_BACK, "", "went back, and is taken down"),
    EventType.CANARY_ROLLEDBACK: (State.ROLLED_BACK, "CanaryRolledBack", "went back"),
    EventType.CANARY_STUCK: (State.STUCK, "CanaryStuck", "can't go back, and is tried again"),
}


def heard(event: Any) -> Heard | None:
    """What a CloudEvent of `aviary.events` means; None where templates are not concerned.

    Args:
        event: as JSON has it, from anybody.
    """
    kind = event.get("type") if isinstance(event, dict) else None
    data = event.get("data") if isinstance(event, dict) else None
    if not isinstance(kind, str) or not isinstance(data, dict):
        return None
    release, service = data.get("release"), data.get("service", "")
    if not isinstance(release, str) or not isinstance(service, str):
        return None
    if kind in _CANARY and service:
        state, reason, words = _CANARY[kind]
        text = f"{service} {data.get('version', '')} {words}{_weight(data)}{_why(data)}"
        if data.get("paused") is True and state is State.PROGRESSING:
            state = State.PAUSED
    elif kind in _RELEASE:
        state, reason, words = _RELEASE[kind]
        service, text = "", f"{words}{_why(data)}"
    else:
        return None
    return Heard(release, service, Report(state, cut(one_line(text), TEXT_MOST), reason))


def _weight(data: dict[str, Any]) -> str:
    weight, step, steps = (data.get(name) for name in ("weight", "step", "steps"))
    if not isinstance(weight, int | float) or isinstance(weight, bool):
        return ""
    if type(step) is int and type(steps) is int and steps > 0:
        return f" at {weight:g} % (step {step + 1} of {steps})"
    return f" at {weight:g} %"


def _why(data: dict[str, Any]) -> str:
    """The cause, what it waits for, or what was said."""
    cause = data.get("cause")
    found = cause.get("text") if isinstance(cause, dict) else None
    found = found or data.get("waits_for") or data.get("text")
    return f": {found}" if isinstance(found, str) and found else ""
