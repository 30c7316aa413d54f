"""What the judge is shown: the raw series of every metric of both arms, at one time."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from enum import StrEnum
from typing import Final

from pydantic import Field

from schemas.base import Model, Percent
from schemas.outside import cut, visible

_DETAIL_MOST: Final = 300
"""Most characters of what is told of a fault."""


class Fault(StrEnum):
    """Why an answer is no evidence; a closed set, the same in verdicts, metrics and tests."""

    TIMED_OUT = "timed_out"
    """No whole answer in time."""
    UNREACHABLE = "unreachable"
    """No connection, or one that broke."""
    UNAVAILABLE = "unavailable"
    """HTTP 5xx or 429: the source, or a proxy before it, can't answer now."""
    DENIED = "denied"
    """HTTP 401 or 403."""
    REDIRECTED = "redirected"
    """HTTP 3xx: to a login page, or the address is not the right one."""
    REFUSED = "refused"
    """Another HTTP status that no Prometheus gives: the address is of something else."""
    WEB_PAGE = "web_page"
    """HTML in place of an answer, as from a login page."""
    MALFORMED = "malformed"
    """Not the JSON that a Prometheus answers."""
    WRONG_TYPE = "wrong_type"
    """A matrix, a scalar, a string or native histograms in place of an instant vector."""
    WRONG_QUERY = "wrong_query"
    """The query itself is wrong."""
    QUERY_FAILED = "query_failed"
    """The source could not carry the query out."""
    TOO_LARGE = "too_large"
    """More than is read of one answer."""
    PARTIAL = "partial"
    """An answer with warnings: part of the data is missing."""
    DUPLICATE = "duplicate"
    """The same series more than once."""
    NOT_A_NUMBER = "not_a_number"
    """NaN, infinite, or a count below zero."""
    EMPTY = "empty"
    """No series at all."""
    UNSHOWN = "unshown"
    """No series of bad requests, and nothing that shows that there could be one."""
    VANISHED = "vanished"
    """Series that were there are gone although their instance is not."""
    OTHER = "other"
    """What none of these is."""


class Series(Model):
    """One raw series at one time."""

    labels: dict[str, str]
    value: float
    started_at: datetime | None = Field(
        default=None, description="When its instance started, where that is known."
    )


class Answer(list[Series]):
    """All series of an answer, and what the source warned of: such an answer may lack some."""

    def __init__(self, series: Iterable[Series] = (), partial: str = "") -> None:
        super().__init__(series)
        self.partial = partial


def partial_of(found: Sequence[Series]) -> str:
    """What the source warned of; empty for a source that never does."""
    return found.partial if isinstance(found, Answer) else ""


def shown(text: str) -> str:
    """What an answer says, bounded and visible, for a sentence."""
    return visible(cut(text, _DETAIL_MOST))


class ArmReading(Model):
    """What one query per part answered for one arm."""

    parts: dict[str, tuple[Series, ...]] = Field(
        description="By part name; an empty tuple where the query answered with no series."
    )
    partial: str = Field(
        default="", description="What the source warned of, where that is accepted."
    )


class Gap(Model):
    """What stands where a query of one arm failed: delayed, never guessed."""

    fault: Fault
    detail: str = Field(default="", description="What was seen, for a person.")


class MetricReading(Model):
    """One metric of both arms. An arm whose query failed is a gap, or None where nobody asked."""

    canary: ArmReading | Gap | None
    stable: ArmReading | Gap | None


class Snapshot(Model):
    """All metrics of one canary, read at one time."""

    at: datetime
    weight: Percent
    weight_changed_at: datetime = Field(
        description="When the weight was last changed and confirmed: no interval across it counts."
    )
    metrics: dict[str, MetricReading]
