"""Which releases a list is of: as a query of Temporal's, and as a check on what it answers."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime

from aviary.releases.failing import CommandError, ExitCode
from schemas import attributes
from schemas.base import parse_duration
from schemas.ids import RELEASE_WORKFLOW
from schemas.release import CauseKind, ReleasePhase, ReleaseStatus
from schemas.verdict import VerdictKind
from schemas.waits import asks_people


@dataclass(frozen=True)
class Filters:
    """What a release must have; None: anything."""

    state: ReleasePhase | None = None
    services: tuple[str, ...] = ()
    """Each must be in it."""
    environment: str | None = None
    since: datetime | None = None
    """Started at this time or later."""
    until: datetime | None = None
    """Started before."""
    verdict: VerdictKind | None = None
    """The last one."""
    cause: CauseKind | None = None
    because_of: str | None = None
    """The service with which going back began."""
    waiting: bool = False
    """It goes on only when a person has done something."""

    @property
    def needs_attributes(self) -> bool:
        """Whether anything is asked that only a search attribute tells."""
        return self.environment is not None

    def query(self) -> str:
        """What Temporal is asked where it has Aviary's search attributes."""
        wanted = {
            attributes.STATE: self.state,
            attributes.ENVIRONMENT: self.environment,
            attributes.VERDICT: self.verdict,
            attributes.CAUSE: self.cause,
            attributes.CAUSE_SERVICE: self.because_of,
        }
        parts = [f"{name} = {quoted(str(one))}" for name, one in wanted.items() if one is not None]
        parts += [f"{attributes.SERVICE} = {quoted(one)}" for one in self.services]
        return " AND ".join([self.plain_query(), *parts])

    def plain_query(self) -> str:
        """What any Temporal can be asked; `matches` does the rest."""
        parts = [f"WorkflowType = {quoted(RELEASE_WORKFLOW)}"]
        if self.state is not None:
            # A release that was terminated keeps the last state that it had.
            parts.append(f"ExecutionStatus {'!=' if self.state.closed else '='} 'Running'")
        elif self.waiting:
            parts.append("ExecutionStatus = 'Running'")
        if self.since is not None:
            parts.append(f"StartTime >= {quoted(_utc(self.since))}")
        if self.until is not None:
            parts.append(f"StartTime < {quoted(_utc(self.until))}")
        return " AND ".join(parts)

    def matches(self, status: ReleaseStatus | None) -> bool:
        """Whether a release is among them, by what it says of itself.

        One that does not answer may wait for a person: that is not known, and so it is shown.
        """
        if status is None:
            return self == Filters(since=self.since, until=self.until, waiting=self.waiting)
        cause = status.cause
        verdicts = [one.verdict for one in status.services if one.verdict is not None]
        last = max(verdicts, key=lambda one: one.at).kind if verdicts else None
        if cause is not None and cause.verdict is not None:
            last = cause.verdict.kind
        return (
            (not self.waiting or waits_for_people(status))
            and self.state in {None, status.phase}
            and {one.service for one in status.services} >= set(self.services)
            and self.verdict in {None, last}
            and self.cause in {None, cause.kind if cause else None}
            and self.because_of in {None, cause.service if cause else None}
        )


def waits_for_people(status: ReleaseStatus) -> bool:
    """Whether a release goes on only when a person has done something."""
    return not status.phase.closed and (
        status.paused or any(asks_people(one) for one in status.services)
    )


def quoted(value: str) -> str:
    """A value of a visibility query, in quotes.

    Raises:
        CommandError: it holds what could end the quotes; no name of ours does.
    """
    if not value.isprintable() or set(value) & set("'\"\\`"):
        text = f"got {value!r}, expected a value without quotes, backslashes and control characters"
        raise CommandError(ExitCode.BAD_INPUT, text)
    return f"'{value}'"


def moment(option: str, text: str | None, now: datetime) -> datetime | None:
    """A time given as such, or as how long ago it was.

    Args:
        option: named in the error.
        text: `2026-01-31`, `2026-01-31T12:00`, with `Z` or an offset, or `7d`, `1h30m`; a time
            without an offset is local, as lists print them.
        now: the time.

    Raises:
        CommandError: it is neither.
    """
    if text is None:
        return None
    with suppress(ValueError, OverflowError):
        return now - parse_duration(text)
    with suppress(ValueError, OverflowError):
        return datetime.fromisoformat(text).astimezone(UTC)
    expected = "a time such as 2026-01-31T12:00, or how long ago, such as 7d or 12h"
    raise CommandError(ExitCode.BAD_INPUT, f"{option}: got {text}, expected {expected}")


def _utc(time: datetime) -> str:
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
