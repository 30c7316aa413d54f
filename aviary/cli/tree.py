"""A release as a tree: services in dependency order, with bars for bake and evidence. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from rich.text import Text

from analysis.explain import length, percent, plain
from aviary.cli import ways
from aviary.cli.bars import UNICODE, Glyphs, bar, cut, folded
from aviary.cli.tables import headline
from aviary.releases.sight import Sight
from schemas.base import format_duration
from schemas.catalog_check import listed
from schemas.live import Live, LiveMetric
from schemas.outside import one_line
from schemas.release import (
    CanaryPhase,
    CanaryStatus,
    ReleaseStatus,
    ServiceStatus,
)
from schemas.versions import short

_WORTH_TELLING = 0.25
"""How close to FAIL a canary that only holds must be for its evidence to be shown."""
_LABEL = 9
_MOST_LINES = 3
"""Of one reason."""


@dataclass(frozen=True)
class Look:
    """Everything that is known at one moment."""

    status: ReleaseStatus
    canaries: Mapping[str, CanaryStatus] = field(default_factory=dict)
    """The canaries that answer, by service."""
    sights: Mapping[str, Sight] = field(default_factory=dict)
    """The canaries that run, as Temporal sees them."""


class Tree:
    """Draws a release.

    Args:
        width: columns.
        glyphs: what is drawn with.
    """

    def __init__(self, width: int, glyphs: Glyphs = UNICODE) -> None:
        self._width = width
        self._glyphs = glyphs
        self._bar = min(max((width - 52) // 2, 10), 40)

    def lines(self, look: Look, now: datetime, height: int | None = None) -> list[Text]:
        """The whole view.

        Args:
            look: what is known.
            now: the time.
            height: lines that there are; detail is left out until the view fits.
        """
        whole = self._view(look, now, detail=True)
        if height is None or len(whole) <= height:
            return whole
        short = self._view(look, now, detail=False)
        if len(short) <= height:
            return short
        fitted = self._fitted(look, now, height)
        if fitted:
            return fitted
        kept = max(height - 1, 1)
        more = f"… {len(short) - kept} more lines: `aviary release status` has all"
        return [*short[:kept], cut(Text(more), self._width)]

    def _view(self, look: Look, now: datetime, *, detail: bool) -> list[Text]:
        services = [
            line
            for _, title, details in self._services(look, now)
            for line in (title, *(details if detail else ()))
        ]
        return [*self._head(look.status, now), *services, *self._foot(look)]

    def _fitted(self, look: Look, now: datetime, height: int) -> list[Text]:
        """The services where something happens, with detail while there is room, then others.

        Nothing where there is no room for a single one.
        """
        head, foot = list(self._head(look.status, now)), list(self._foot(look))
        room = height - len(head) - len(foot) - 1
        rows = {name: (title, details) for name, title, details in self._services(look, now)}
        phases = {one.service: _at(look, one).phase for one in look.status.services}
        order = sorted(rows, key=lambda name: -phases[name].about.urgency)
        busy = [name for name in order if phases[name].about.takes_slot]
        kept = dict.fromkeys(busy[: max(room, 0)], 1)
        room -= len(kept)
        for name in kept:
            if len(rows[name][1]) <= room:
                kept[name] += len(rows[name][1])
                room -= len(rows[name][1])
        kept |= dict.fromkeys([name for name in order if name not in kept][: max(room, 0)], 1)
        if not kept:
            return []
        shown = [
            line
            for name, (title, details) in rows.items()
            for line in (title, *details)[: kept.get(name, 0)]
        ]
        more = f"… {len(rows) - len(kept)} more services: `aviary release status` has all"
        return [*head, *shown, cut(Text(more, "dim"), self._width), *foot]

    # --- above and below ---

    def _head(self, status: ReleaseStatus, now: datetime) -> Iterator[Text]:
        lines = folded(headline(status), self._width, _MOST_LINES)
        yield from (Text(line, style="bold") for line in lines)
        until = status.finished_at or now
        since = _span(max((until - status.started_at).total_seconds(), 0))
        counts: dict[str, int] = {}
        for one in status.services:
            counts[one.phase.words] = counts.get(one.phase.words, 0) + 1
        words = ", ".join(f"{count} {word}" for word, count in counts.items())
        took = "took" if status.finished_at else "for"
        yield cut(Text(f"{took} {since}: {words}", "dim"), self._width)

    def _foot(self, look: Look) -> Iterator[Text]:
        for line in may(look):
            yield from (Text(part) for part in folded(line, self._width, _MOST_LINES))

    # --- the tree ---

    def _services(self, look: Look, now: datetime) -> Iterator[tuple[str, Text, list[Text]]]:
        """Each service, dependencies first: its name, its line, and what there is to say of it."""
        by_name = {one.service: one for one in look.status.services}
        children = _children(look.status.services)

        def below(names: Sequence[str], trunk: str) -> Iterator[tuple[str, Text, list[Text]]]:
            for index, name in enumerate(names):
                last = index == len(names) - 1
                branch = self._glyphs.last if last else self._glyphs.branch
                inner = trunk + (" " * len(branch) if last else self._glyphs.trunk)
                kids = children.get(name, [])
                mark = self._glyphs.trunk if kids else " " * len(self._glyphs.trunk)
                service = by_name[name]
                title = self._title(service, look.canaries.get(name), trunk + branch)
                yield name, title, list(self._details(service, look, now, inner + mark))
                yield from below(kids, inner)

        yield from below(children.get("", []), "")

    def _title(self, service: ServiceStatus, canary: CanaryStatus | None, lead: str) -> Text:
        at = canary or service
        text = Text.assemble(
            lead,
            (one_line(f"{service.service} {short(service.version)}"), "bold"),
            "  ",
            (at.phase.words, at.phase.about.style),
        )
        if not (at.phase.untouched or at.phase.closed):
            text.append(f"  {one_line(at.gets)}")
        if at.phase.about.has_step and at.step is not None:
            text.append(f"  step {at.step + 1} of {at.steps}")
        if at.phase.about.has_step and at.stable is not None:
            text.append(f"  beside {one_line(at.stable)}", style="dim")
        if service.group and not at.phase.closed:
            others = listed(one for one in service.group if one != service.service)
            text.append(f"  in step with {one_line(others)}", style="dim")
        if canary is not None and canary.paused and at.phase is not CanaryPhase.PAUSED:
            text.append("  to pause", style="yellow")
        return cut(text, self._width)

    def _details(
        self, service: ServiceStatus, look: Look, now: datetime, lead: str
    ) -> Iterator[Text]:
        canary = look.canaries.get(service.service)
        at = canary or service
        sight = look.sights.get(service.service, Sight())
        if sight.live is not None:
            yield from self._evidence(sight.live, at.phase, now, lead)
        if sight.trouble:
            yield from self._told(lead, "trouble", sight.trouble, "red")
        if at.cause is not None and at.cause != look.status.cause:
            yield from self._told(lead, "why", at.cause.text, "red")
        if at.waits_for and not at.phase.closed:
            yield from self._told(lead, "waits for", at.waits_for, "")
        if lane := _lane(service, sight.live):
            yield from self._told(lead, "lane", lane, "dim")
        if at.verdict is not None and not at.phase.closed:
            yield from self._told(lead, "last", at.verdict.sentence, "dim")

    def _told(self, lead: str, label: str, text: str, style: str) -> Iterator[Text]:
        """A sentence beside its label, in as many lines as it needs."""
        label = one_line(label)
        room = self._width - len(lead) - _LABEL - 1
        for index, line in enumerate(folded(text, room, _MOST_LINES)):
            shown = label if index == 0 else ""
            yield Text.assemble((f"{lead}", "dim"), (f"{shown:<{_LABEL}} ", "dim"), (line, style))

    # --- evidence ---

    def _evidence(self, live: Live, phase: CanaryPhase, now: datetime, lead: str) -> Iterator[Text]:
        if not phase.about.has_step and live.to_fail < _WORTH_TELLING:
            return
        if live.bake_max is not None and live.bake_min is not None and phase is CanaryPhase.BAKING:
            elapsed = max((now - live.started_at).total_seconds(), 0.0)
            share = elapsed / live.bake_max if live.bake_max else 1.0
            told = f"{_span(min(elapsed, live.bake_max))} of {_span(live.bake_max)}"
            if live.bake_min < live.bake_max:
                told += f", at least {_span(live.bake_min)}"
            yield self._barred(lead, "bake", share, "cyan", told)
        if live.metrics:
            odds = f"odds {plain(live.e_value)} of {plain(live.threshold)}"
            yield self._barred(lead, "fail", live.to_fail, "red", odds)
        if live.to_go_on is not None and phase is CanaryPhase.BAKING:
            yield self._barred(lead, "go on", live.to_go_on, "green", _farthest(live))
        for metric in live.metrics:
            yield from self._told(lead, *_rates(metric), "dim" if metric.dry_run else "")
        if live.share is not None and live.requests:
            text = f"{100 * live.share:.3g} % of {live.requests:,} requests"
            yield from self._told(lead, "share", text, "dim")

    def _barred(self, lead: str, label: str, share: float, style: str, told: str) -> Text:
        text = Text.assemble((lead, "dim"), (f"{label:<{_LABEL}} ", "dim"))
        text.append_text(bar(share, self._bar, style, self._glyphs))
        text.append(f" {min(int(100 * share), 100):>3} %  {one_line(told)}")
        return cut(text, self._width)


def _at(look: Look, service: ServiceStatus) -> CanaryStatus | ServiceStatus:
    """The canary's own word where it answers."""
    return look.canaries.get(service.service) or service


def _lane(service: ServiceStatus, live: Live | None) -> str:
    """What came with the release's lane: so far in this bake, and in those that have ended."""
    texts = []
    if live is not None and (now := live.lane) is not None:
        texts.append(f"now {now.came:,} of {now.total:,} requests come with it")
    if service.lane is not None:
        texts.append(service.lane.text)
    return "; ".join(texts)


def may(look: Look) -> list[str]:
    """What a person may do now, and with which command."""
    return ways.may(look.status, look.canaries)


def _children(services: Sequence[ServiceStatus]) -> dict[str, list[str]]:
    """Services below the one that they wait for last; those that wait for none are below ""."""
    depth: dict[str, int] = {}
    for one in services:
        depth[one.service] = 1 + max((depth.get(need, 0) for need in one.depends_on), default=0)
    found: dict[str, list[str]] = {}
    for one in services:
        above = max(one.depends_on, key=lambda need: depth.get(need, 0), default="")
        found.setdefault(above, []).append(one.service)
    return found


def _rates(metric: LiveMetric) -> tuple[str, str]:
    """A metric of both versions, now: its label, and what is said beside it."""
    name = metric.name if metric.edge is None else f"{metric.name} > {length(metric.edge)}"
    label, head = (name, "") if len(name) <= _LABEL else ("", f"{name}: ")
    if metric.note and not metric.canary.total:
        return label, head + metric.note
    if metric.kind == "threshold":
        return label, f"{head}{plain(metric.canary.rate)} at worst"
    shown = plain if metric.kind == "gauge" else percent
    canary = metric.canary_now if metric.canary_now is not None else metric.canary.rate
    text = f"{head}now {shown(canary)}"
    if metric.stable.total > 0:
        beside = metric.stable_now if metric.stable_now is not None else metric.stable.rate
        text += f" against {shown(beside)}"
    if metric.kind != "gauge":
        stable = f" and {metric.stable.total:,.0f}" if metric.stable.total > 0 else ""
        text += f"; {metric.canary.total:,.0f}{stable} requests"
    text += f"; {metric.note}" if metric.note else ""
    return label, text + (", not acted upon" if metric.dry_run else "")


def _farthest(live: Live) -> str:
    """What keeps it from going on."""
    bounded = [one for one in live.metrics if one.to_go_on is not None and not one.dry_run]
    if not bounded:
        return ""
    one = min(bounded, key=lambda metric: metric.to_go_on or 0.0)
    most = percent(max(one.upper_bound or 0.0, 0.0))
    return f"{one.name}: bound {most}, needs {percent(one.tolerance)}"


def _span(seconds: float) -> str:
    return format_duration(timedelta(seconds=round(seconds)))
