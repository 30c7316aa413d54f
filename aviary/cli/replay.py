"""What becomes of past releases by another policy, as text and as plain data."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, Final

from aviary.cli.border import echo, say
from schemas.base import format_duration
from schemas.catalog_check import many
from schemas.outside import one_line

if TYPE_CHECKING:
    from aviary.audit.past import PastRelease
    from aviary.audit.rejudge import Rejudged

    Found = Sequence[tuple[PastRelease, list[Rejudged]]]

_NOT_WHOLE: Final = "its record is not whole: aviary audit verify"
_WORDS: Final = {
    "back": "went back",
    "through": "had all requests",
    "asked": "asked a person",
    "open": "was not decided",
}
_WOULD: Final = {
    "back": "goes back",
    "through": "passes all steps",
    "asked": "asks a person",
    "open": "is not decided by the end of the record",
}


def replay_as_data(found: Found, whole: Collection[str]) -> dict[str, Any]:
    """Everything, with what it stands on."""
    from aviary.audit.rejudge import ASSUMED  # noqa: PLC0415 - keeps --help fast

    return {
        "assumed": list(ASSUMED),
        "releases": [
            {
                "release": past.release,
                "began_at": past.began_at.isoformat(),
                "ended": past.ended or None,
                "whole": past.release in whole,
                "unread": past.unread,
                "differs": any(one.differs for one in services),
                "services": [_service(one) for one in services],
            }
            for past, services in found
        ],
    }


def _service(one: Rejudged) -> dict[str, Any]:
    outcome = one.outcome
    return {
        "service": one.past.service,
        "version": one.past.version,
        "stable": one.past.stable,
        "then": {
            "way": one.way_then.value,
            "at": _iso(one.at_then),
            "by": one.past.back_by or None,
            "text": one.past.back_text or None,
        },
        "other": None
        if outcome is None
        else {
            "way": outcome.way.value,
            "at": _iso(one.at),
            "weight": 100 * outcome.share,
            "reason": outcome.verdict.reason.value if outcome.verdict else None,
            "text": outcome.verdict.sentence if outcome.verdict else None,
            "earlier_s": one.earlier.total_seconds() if one.earlier else None,
        },
        "differs": one.differs,
        "cost": None
        if outcome is None or one.costs_by is None
        else {
            "metric": one.costs_by,
            "failed_then": outcome.failed_then,
            "failed_other": outcome.failed,
            "more": outcome.cost,
            "requests": outcome.requests,
        },
        "metrics": list(one.metrics),
        "notes": one.notes,
    }


def _iso(at: datetime | None) -> str | None:
    return None if at is None else at.isoformat()


def print_replay(found: Found, whole: Collection[str]) -> None:
    """A block for each release, what all of it comes to, and what it stands on."""
    from aviary.audit.rejudge import ASSUMED  # noqa: PLC0415 - keeps --help fast

    counts: Counter[str] = Counter()
    cost = 0.0
    for past, services in found:
        say(f"release {past.release}, {past.began_at:%Y-%m-%d %H:%M} UTC: {past.ended or 'open'}")
        if past.release not in whole:
            echo(f"  {_NOT_WHOLE}")
        if past.unread:
            echo(f"  {past.unread} events with counts can't be read")
        for one in services:
            for line in _lines(one):
                echo(f"  {one_line(line)}")
            counts["judged"] += one.outcome is not None
            counts["differ"] += one.differs
            cost += one.outcome.cost if one.outcome and one.costs_by else 0.0
    echo(
        f"{many(len(found), 'release')}, {many(counts['judged'], 'service')} judged again: "
        f"{counts['differ']} go another way, {_more(cost)}"
    )
    for text in ASSUMED:
        echo(f"  assumed: {text}")


def _lines(one: Rejudged) -> list[str]:
    past, outcome = one.past, one.outcome
    then = _WORDS[one.way_then.value] + _after(past.began_at, one.at_then)
    if past.back_by:
        then += f" ({past.back_by}: {past.back_text})"
    lines = [f"{past.service} {past.version}: {then}"]
    if outcome is not None:
        mark = "OTHERWISE" if one.differs else "the same"
        text = _WOULD[outcome.way.value] + _after(past.began_at, one.at)
        if outcome.way.value != "through":
            text += f" at {100 * outcome.share:g} %"
        if one.earlier:
            length = format_duration(timedelta(seconds=round(abs(one.earlier.total_seconds()))))
            text += f", {length} {'earlier' if one.earlier > timedelta(0) else 'later'}"
        lines.append(f"  {mark}: {text}")
        if one.costs_by is not None:
            lines.append(f"  {_more(outcome.cost)} of {outcome.requests:,.0f} ({one.costs_by})")
        if outcome.verdict is not None:
            lines.append(f"  {outcome.verdict.sentence}")
    return [*lines, *(f"  note: {note}" for note in one.notes)]


def _after(began: datetime | None, at: datetime | None) -> str:
    if began is None or at is None or at < began:
        return ""
    return f" after {format_duration(timedelta(seconds=round((at - began).total_seconds())))}"


def _more(cost: float) -> str:
    return f"{abs(cost):,.1f} {'more' if cost >= 0 else 'fewer'} failed requests"
