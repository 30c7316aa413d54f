"""Times, states and verdicts in the words and signs of the page. Pure.

A state is never told by colour alone: each has a sign and a word.
"""

from __future__ import annotations

from datetime import UTC, datetime

from aviary.report.html import Markup, tag
from schemas.base import format_duration
from schemas.event_kinds import MomentKind
from schemas.release import CanaryPhase, ReleasePhase
from schemas.stages import StaleStage
from schemas.stale_flag import OFF
from schemas.timeline import ServiceTimeline, Timeline
from schemas.verdict import Verdict, VerdictKind

_DAY_S = 86_400
_LONG = 300
"""Characters that a text may have in one place; that is three or four lines."""
_VERDICTS = {
    VerdictKind.PASS: ("✓", "good"),
    VerdictKind.FAIL: ("✗", "bad"),
    VerdictKind.INCONCLUSIVE: ("?", "open"),
}
_MOMENTS = {
    MomentKind.ALERT: ("▲", "bad"),
    MomentKind.ROLLBACK: ("↩", "bad"),
    MomentKind.TOLD_BACK: ("↩", "bad"),
    MomentKind.ROLLING_BACK: ("↩", "bad"),
    MomentKind.STUCK: ("!", "bad"),
    MomentKind.FAILED: ("!", "bad"),
    MomentKind.LOST: ("!", "bad"),
    MomentKind.TERMINATED: ("!", "bad"),
    MomentKind.CANCELLED: ("!", "bad"),
    MomentKind.ROLLED_BACK: ("↩", "bad"),
    MomentKind.RESTORED: ("↩", "bad"),
    MomentKind.KEPT: ("!", "open"),
    MomentKind.SHIFTED: ("→", "open"),
    MomentKind.CHECKING: ("…", "open"),
    MomentKind.GATED: ("?", "open"),
    MomentKind.IN_STEP: ("…", "open"),
    MomentKind.PAUSED: ("Ⅱ", "open"),
    MomentKind.APPROVED: ("✓", "open"),
    MomentKind.FINALIZED: ("✓", "good"),
    MomentKind.HOLDING: ("■", "good"),
}


def said(value: str) -> str:
    """`rolled_back` as a person says it."""
    return value.replace("_", " ")


def tone(phase: CanaryPhase | ReleasePhase) -> str:
    """good, bad, none (nothing happened), or open (it goes on)."""
    return phase.about.tone


def sign(phase: CanaryPhase) -> str:
    """The sign of a state."""
    return phase.about.sign


def badge(phase: CanaryPhase) -> Markup:
    """A service's state."""
    return _badge(sign(phase), phase.words, tone(phase))


def release_badge(phase: ReleasePhase) -> Markup:
    """A release's state."""
    return _badge(phase.about.sign, phase.words, tone(phase))


def verdict_badge(verdict: Verdict | None) -> Markup:
    """The judge's word."""
    if verdict is None:
        return _badge("…", "no word", "none")
    return _badge(_VERDICTS[verdict.kind][0], verdict.kind, _VERDICTS[verdict.kind][1])


def moment_badge(kind: MomentKind, verdict: Verdict | None) -> Markup:
    """What happened."""
    if kind is MomentKind.JUDGED and verdict is not None:
        return verdict_badge(verdict)
    mark, colour = _MOMENTS.get(kind, ("·", "none"))
    return _badge(mark, said(kind), colour)


def _badge(mark: str, text: str, colour: str) -> Markup:
    return tag("span", tag("span", mark, aria_hidden="true"), f" {text}", class_=f"badge {colour}")


def stamp(at: datetime | None) -> str:
    """A date and time of day, in UTC."""
    return "unknown" if at is None else at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def clock(at: datetime) -> Markup:
    """A time of day that a program can read as a whole."""
    utc = at.astimezone(UTC)
    return tag("time", utc.strftime("%H:%M:%S"), datetime=utc.isoformat(), title=stamp(utc))


def after(at: datetime, start: datetime) -> str:
    """How long after the start: `+0:04:31`, `+2d 0:04:31`."""
    seconds = round((at - start).total_seconds())
    sign_, seconds = ("-", -seconds) if seconds < 0 else ("+", seconds)
    days, rest = divmod(seconds, _DAY_S)
    text = f"{rest // 3600}:{rest // 60 % 60:02}:{rest % 60:02}"
    return f"{sign_}{days}d {text}" if days else f"{sign_}{text}"


def lasted(seconds: float) -> str:
    """A length of time to the second: `4 min 31 s`."""
    whole = round(seconds)
    parts = [(whole // _DAY_S, "d"), (whole // 3600 % 24, "h"), (whole // 60 % 60, "min")]
    shown = [f"{count} {unit}" for count, unit in parts if count]
    if whole % 60 or not shown:
        shown.append(f"{whole % 60} s")
    return " ".join(shown[:2])


def cut(text: str) -> str:
    """A text for a place where it should not be long."""
    head, rest = _parted(text)
    return f"{head.rstrip()} …" if rest else text


def unfolding(text: str) -> str | Markup:
    """A text that is all there, and shows only its beginning until it is asked for."""
    head, rest = _parted(text)
    if not rest:
        return text
    return tag("details", tag("summary", head), tag("div", rest), class_="long")


def _parted(text: str) -> tuple[str, str]:
    """The beginning of a text, up to the end of a word where there is one, and the rest."""
    if len(text) <= _LONG:
        return text, ""
    at = text.rfind(" ", _LONG // 2, _LONG) + 1 or _LONG
    return text[:at], text[at:]


def stale_text(timeline: Timeline, service: ServiceTimeline, now: datetime) -> str:
    """Of a feature flag that the release gave to everybody: since when, and how long it may stay.

    Empty for any other service, and where the catalog has no `stale_after`.
    """
    plan, since = service.plan, timeline.finished_at
    after = next((one.after for one in plan.stages if isinstance(one, StaleStage)), None)
    if after is None or since is None or service.phase is not CanaryPhase.FINALIZED:
        return ""
    if plan.version in {OFF, service.stable}:
        return ""
    is_on = f"flag {plan.service} is {plan.version} for everybody since {stamp(since)}"
    if now < since + after:
        return f"{is_on}; where it still is, somebody is told after {format_duration(after)}."
    return (
        f"Stale: {is_on}, for more than {format_duration(after)}, unless it was changed after this "
        "release. Take the flag out of the code, and then away."
    )
