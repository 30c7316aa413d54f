"""A release for a pipeline: the summary of a job in Markdown, and what ends a wait. Pure.

What others wrote is text in it: no character of it is markup, and none makes a link.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from analysis.explain import length, percent, plain
from aviary.api.source import Look
from schemas.base import format_duration
from schemas.event_kinds import EventType
from schemas.outside import cut, inert
from schemas.phases import ReleasePhase
from schemas.release import CanaryStatus, ReleaseStatus, ServiceStatus
from schemas.verdict import MetricEvidence

SERVICES_MOST: Final = 500
"""Services that a summary shows."""
MOMENTS_MOST: Final = 200
"""Lines of what happened: its beginning, and its end."""
_TEXT_MOST: Final = 500
_DIGEST: Final = 16
_MARKUP: Final = re.compile(r"([\\*_~|#\[\]{}$])")
_CANARY: Final = "dev.aviary.canary."
_RELEASE: Final = "dev.aviary.release."
_TAIL: Final = ".v1"


def digest_of(services: Mapping[str, str]) -> str:
    """By which a release is told from another of its id: 16 hexadecimal digits.

    Args:
        services: the versions, by service.
    """
    lines = "".join(f"{name}={version}\n" for name, version in sorted(services.items()))
    return hashlib.sha256(lines.encode()).hexdigest()[:_DIGEST]


def versions_of(status: ReleaseStatus) -> dict[str, str]:
    """The versions of a release, by service."""
    return {one.service: one.version for one in status.services}


def asks(look: Look) -> bool:
    """Whether a release goes on only when a person has done something."""
    status = look.status
    if status.phase.closed:
        return False
    return status.paused or any(one.phase.about.asks for one in _seen(look))


def markdown(look: Look, events: Sequence[Any], pages: Mapping[str, str]) -> str:
    """The summary of a release; its first line, a heading, says where it is and why.

    Args:
        look: the release now.
        events: what it has published, in order.
        pages: where more is shown, by what it shows.
    """
    status = look.status
    lines = [f"## {_text(_headline(status))}", "", _facts(status), ""]
    lines += _services(look)
    if status.cause is not None:
        lines += ["### Why it went back", "", f"> {_text(status.cause.text)}", ""]
    lines += _numbers(_seen(look))
    lines += _moments(events)
    if pages:
        lines += [" · ".join(f"[{_text(name)}]({url})" for name, url in pages.items()), ""]
    return "\n".join(lines)


def _text(text: str) -> str:
    """A text from anybody as Markdown that shows it, on one line."""
    safe = inert(cut(text, _TEXT_MOST)).replace("&", "&amp;").replace("<", "&lt;")
    return _MARKUP.sub(r"\\\1", safe)


def _seen(look: Look) -> list[CanaryStatus | ServiceStatus]:
    return [look.canaries.get(one.service) or one for one in look.status.services]


def _headline(status: ReleaseStatus) -> str:
    if status.summary:
        return f"{status.release}: {status.summary}"
    verb = "was" if status.phase is ReleasePhase.ROLLED_BACK else "is"
    return f"Release {status.release} {verb} {status.phase.words}"


def _facts(status: ReleaseStatus) -> str:
    began = f"began {_at(status.started_at)}"
    if status.finished_at is None:
        return f"Release `{status.release}`, {began}"
    took = timedelta(seconds=round((status.finished_at - status.started_at).total_seconds()))
    return f"Release `{status.release}`, {began}, took {format_duration(took)}"


def _at(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    found = [f"| {' | '.join(row)} |" for row in rows]
    if not found:
        return []
    return [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *found, ""]


def _services(look: Look) -> list[str]:
    rows = []
    for service in look.status.services[:SERVICES_MOST]:
        at = look.canaries.get(service.service) or service
        said = at.waits_for if at.waits_for and not at.phase.closed else ""
        if not said and at.verdict is not None:
            said = f"{at.verdict.kind}: {at.verdict.sentence}"
        if service.watched_until is not None:
            said = "; ".join(filter(None, (said, f"watched until {_at(service.watched_until)}")))
        cells = (service.service, service.version, at.stable or "", at.phase.words, at.gets, said)
        rows.append([_text(cell) for cell in cells])
    heads = ("service", "version", "beside", "is", "has", "")
    more = len(look.status.services) - SERVICES_MOST
    return [*_table(heads, rows), *([f"and {more} more services", ""] if more > 0 else [])]


def _numbers(seen: Sequence[CanaryStatus | ServiceStatus]) -> list[str]:
    """What the last verdict of each service stands on."""
    rows = [
        [_text(one.service), *_evidence(metric)]
        for one in seen[:SERVICES_MOST]
        if one.verdict is not None
        for metric in one.verdict.metrics
    ]
    heads = ("service", "metric", "new", "stable", "requests", "odds of", "at most extra", "")
    found = _table(heads, rows)
    return ["### Numbers of the last verdicts", "", *found] if found else []


def _evidence(metric: MetricEvidence) -> list[str]:
    name = metric.name if metric.edge is None else f"{metric.name} over {length(metric.edge)}"
    bound = "" if metric.upper_bound is None else percent(max(metric.upper_bound, 0.0))
    if bound and metric.tolerance is not None:
        bound += f" (needs {percent(metric.tolerance)})"
    note = metric.note + (" (not acted upon)" if metric.dry_run else "")
    return [
        _text(name),
        _rate(metric.canary.rate),
        _rate(metric.stable.rate),
        f"{metric.canary.total:,.0f} and {metric.stable.total:,.0f}",
        f"{plain(metric.e_value)} of {plain(metric.threshold)}",
        bound,
        _text(note),
    ]


def _rate(rate: float | None) -> str:
    """A share as a percentage; what is none, such as the value of a gauge, as it is."""
    return plain(rate) if rate is not None and rate > 1 else percent(rate)


def _moments(events: Sequence[Any]) -> list[str]:
    lines = list(_told(events))
    if len(lines) > MOMENTS_MOST:
        half = MOMENTS_MOST // 2
        left = f"- … {len(lines) - 2 * half} more"
        lines = [*lines[:half], left, *lines[-half:]]
    return ["### What happened", "", *lines, ""] if lines else []


def _told(events: Sequence[Any]) -> Iterator[str]:
    last = ""
    for event in events:
        if not isinstance(event, dict) or not isinstance(data := event.get("data"), dict):
            continue
        text = _sentence(str(event.get("type")), data)
        if text and text != last:
            last = text
            yield f"- {_text(str(event.get('time', ''))[11:19])} {_text(text)}"


def _sentence(kind: str, data: Mapping[str, Any]) -> str:
    """What an event says, in a sentence; empty for one that says nothing new to people."""
    cause = data.get("cause")
    why = f": {cause['text']}" if isinstance(cause, dict) and cause.get("text") else ""
    if kind.startswith(_RELEASE):
        word = kind.removeprefix(_RELEASE).removesuffix(_TAIL)
        return f"the release: {_WORDS.get(word, word)}{why or _after(data.get('text'))}"
    if not kind.startswith(_CANARY):
        return ""
    service, verdict = data.get("service"), data.get("verdict")
    if kind == EventType.CANARY_JUDGED and isinstance(verdict, dict):
        return f"{service}: {verdict.get('kind')}: {verdict.get('sentence')}"
    word = kind.removeprefix(_CANARY).removesuffix(_TAIL)
    if word == "changed":
        return ""
    if word == "shifted":
        return f"{service} {data.get('version')} has {data.get('weight', 0):g} %"
    waits = _after(data.get("waits_for")) if kind in _WAITS else ""
    return f"{service}: {_WORDS.get(word, word)}{waits or why}"


_WAITS: Final = frozenset({EventType.CANARY_GATED, EventType.CANARY_PAUSED, EventType.CANARY_STUCK})
_WORDS: Final = {"rollingback": "rolling back", "rolledback": "rolled back"}


def _after(text: object) -> str:
    return f": {text}" if text else ""
