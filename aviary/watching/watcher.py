"""The watcher: what is seen becomes groups, groups become decisions, decisions go to Kafka.

One task decides. What it has decided is in the journal before anything is sent, and is sent again
until Kafka has it: however often it is sent, it is the same event, and so one release.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Protocol

import structlog

from adapters.backoff import doubling
from adapters.errors import Retryable, Terminal
from adapters.kafka import Writer
from adapters.kubernetes.errors import Conflicted
from adapters.kubernetes.resources import Json
from aviary.deploy_plan import plan_event
from aviary.watching.grouping import Group, Groups
from aviary.watching.journal import Entry, Journal, JournalStore, Kept
from aviary.watching.metrics import WatchMetrics
from aviary.watching.reporting import Written
from aviary.watching.requests import Request, request_of, same_service
from aviary.watching.status import TEXT_MOST, Heard, Report, State
from aviary.watching.templates import (
    VERSION,
    Reference,
    Template,
    UnusableError,
    read_template,
    reference_of,
    service_of,
)
from schemas.catalog import Catalog
from schemas.outside import cut, one_line
from schemas.rejection import Rejected

_OTHERS_MOST: Final = 2_000
LOOKS_S: Final = 5.0
"""Longest time until a catalog that has changed is noticed."""
_log = structlog.get_logger("aviary.watch")


class Reports(Protocol):
    """What writes states and Events on templates."""

    def report(self, written: Written, once: str = "") -> None:
        """Have a state on its template."""

    def event(self, of: Reference, report: Report, once: str = "") -> None:
        """Write an Event alone."""

    def renumber(self, of: Reference) -> None:
        """Have the number of a newer state beside what the template was told before."""

    def forget(self, uid: str) -> None:
        """A template is gone."""


@dataclass(frozen=True)
class Watching:
    """How a watcher reads and groups templates."""

    namespace: str
    quiet_s: float
    longest_s: float
    revisions: tuple[str, ...]


class Watcher:
    """Turns changes of templates into deploy events.

    Args:
        options: how it reads and groups.
        store: of the journal.
        writer: to Kafka.
        reports: writes on templates.
        catalog: gives the newest.
        metrics: counts.
        clock: seconds that only grow.
        now: the time of day.
    """

    def __init__(  # noqa: PLR0913 - its parts
        self,
        options: Watching,
        store: JournalStore,
        writer: Writer,
        reports: Reports,
        catalog: Callable[[], Awaitable[Catalog]],
        *,
        metrics: WatchMetrics,
        clock: Callable[[], float],
        now: Callable[[], datetime],
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._options, self._store, self._writer, self._reports = options, store, writer, reports
        self._catalog, self._metrics = catalog, metrics
        self._clock, self._now, self._sleep = clock, now, sleep
        self._groups = Groups(options.quiet_s, options.longest_s)
        self._kept: Kept | None = None
        self._there: dict[str, Json] = {}
        self._unread: dict[str, None] = {}
        self._refused: dict[str, Template | None] = {}
        """Those that this catalog refused, as they were read, and others of which nothing is done
        either, by uid."""
        self._reported: dict[str, Written] = {}
        """What was said of the release of each template, by uid."""
        self._deleted: set[str] = set()
        self._others: deque[str] = deque(maxlen=_OTHERS_MOST)
        self._known: Catalog | None = None
        self._more = asyncio.Event()
        self.trouble = "the journal was not read yet"
        """Why nothing is decided now; empty while it is."""

    def seen(self, thing: Json) -> None:
        """Take an object as it is now."""
        uid = reference_of(thing).uid
        self._there[uid] = thing
        self._unread[uid] = None
        self._more.set()

    def gone(self, uid: str) -> None:
        """Forget an object that is no more, or is no template any more."""
        for found in (self._there, self._unread, self._refused, self._reported):
            found.pop(uid, None)
        self._deleted.add(uid)
        self._groups.drop(uid)
        self._reports.forget(uid)
        self._more.set()

    def listed(self, kind: str, uids: frozenset[str]) -> None:
        """Forget all of a kind that a list does not have.

        Args:
            kind: Deployment or PodTemplate.
            uids: of all that there are.
        """
        known = {uid for uid, thing in self._there.items() if thing.get("kind") == kind}
        if self._kept is not None:
            entries = self._kept.journal.templates.items()
            known |= {uid for uid, entry in entries if entry.kind == kind}
        for uid in known - uids:
            self.gone(uid)

    async def heard(self, heard: Heard, once: str) -> None:
        """Tell the templates of a release what became of it.

        Args:
            heard: what an event means.
            once: the event's identity.

        Raises:
            Retryable: the journal can't be read.
        """
        found = (await self.journal()).journal.of_release(heard.release)
        if not found and heard.release not in self._others:
            # Decided by a watcher beside this one, perhaps; if not, it is nobody's here.
            self._kept = await self._store.read()
            found = self._kept.journal.of_release(heard.release)
            if not found:
                self._others.append(heard.release)
        for uid, entry in found.items():
            if heard.service in {"", entry.service}:
                written = self._reported[uid] = Written(entry.of(uid), heard.report, entry.release)
                if uid not in self._refused:
                    self._reports.report(written, once)

    async def journal(self) -> Kept:
        """The journal, read if it was not yet.

        Raises:
            Retryable: it can't be read.
        """
        if self._kept is None:
            self._kept = await self._store.read()
        return self._kept

    async def run(self) -> None:
        """Decide for ever."""
        pauses = doubling()
        while True:
            try:
                await self.step()
            except Retryable as error:
                self.trouble = str(error)
                pause = next(pauses)
                _log.warning("watcher_waits", error=self.trouble, delay_s=pause)
                await self._sleep(pause)
                continue
            pauses, self.trouble = doubling(), ""
            await self._wait()

    async def _wait(self) -> None:
        """Until something was seen, a group is whole, or it is time to look at the catalog."""
        next_at = self._groups.next_at()
        left = LOOKS_S if next_at is None else min(LOOKS_S, next_at - self._clock())
        with suppress(TimeoutError):  # then it is time
            async with asyncio.timeout(max(0.0, left)):
                await self._more.wait()
        self._more.clear()

    async def step(self) -> None:
        """Do all that can be done now.

        Raises:
            Retryable: the API server or Kafka is away; the same again is right.
        """
        await self.journal()
        await self._send_pending()
        await self._read_catalog()
        await self._forget_deleted()
        while self._unread:
            uid = next(iter(self._unread))
            del self._unread[uid]
            try:
                await self._read(self._there[uid])
            except Retryable:
                self._look_again([uid])
                raise
        groups = self._groups.due(self._clock())
        while groups:
            try:
                await self._decide(groups[0])
            except Retryable:
                # All that are left are looked at again: nothing of them is lost.
                self._look_again(one.of.uid for group in groups for one in group.templates)
                raise
            del groups[0]
        self._metrics.templates.set(len(self._there))
        self._metrics.waiting.set(len(self._refused))

    def _look_again(self, uids: Iterable[str]) -> None:
        self._unread |= dict.fromkeys(uid for uid in uids if uid in self._there)

    async def _forget_deleted(self) -> None:
        kept = await self.journal()
        if deleted := self._deleted & kept.journal.templates.keys():
            await self._write(kept.journal.without(frozenset(deleted)), kept)
        self._deleted.clear()

    async def _read_catalog(self) -> None:
        """What was refused may be right by a newer catalog."""
        newest = await self._catalog()
        if newest is not self._known:
            self._known = newest
            self._refused = dict.fromkeys(self._refused)
            self._look_again(self._refused)

    async def _read(self, thing: Json) -> None:
        """Look at one object: it joins a group if it asks for something new."""
        of = reference_of(thing)
        kept = await self.journal()
        entry = kept.journal.templates.get(of.uid)
        if entry is not None and entry.generation >= of.generation:
            self._refused.pop(of.uid, None)
            return
        try:
            template = self._template(thing, entry)
        except UnusableError as error:
            self._groups.drop(of.uid)
            self._refuse(of, str(error))
            return
        if self._refused.get(of.uid) == template:
            return  # seen again, for the word on it: it keeps nobody back who comes after it
        was_refused = of.uid in self._refused
        if entry is not None and entry.version == template.version:
            await self._keep_same(template, entry, was_refused=was_refused)
            self._refused.pop(of.uid, None)
        else:
            self._refused.pop(of.uid, None)
            self._groups.add(template, self._clock())

    def _template(self, thing: Json, entry: Entry | None) -> Template:
        """Read a template.

        Raises:
            UnusableError: it can't be acted upon.
        """
        service = service_of(thing)
        catalog = self._known
        spec = catalog.services.get(service) if catalog is not None else None
        deploy = catalog.deploy(spec) if catalog is not None and spec is not None else None
        container = deploy.recipe.get("container") if deploy is not None else None
        wished = container if isinstance(container, str) else None
        found = read_template(thing, service, wished, self._options.revisions)
        same = entry is not None and entry.version == found.version
        if entry is not None and same and entry.made_of != found.made_of:
            text = f"another version: release {entry.release} has it with another specification"
            raise UnusableError(f"metadata.annotations[{VERSION}]", found.version, text)
        return found

    async def _keep_same(self, template: Template, entry: Entry, *, was_refused: bool) -> None:
        """A newer state that asks for what is there: only the number of its state is kept."""
        self._groups.drop(template.of.uid)
        kept = await self.journal()
        await self._write(kept.journal.with_same(template), kept)
        if not was_refused:
            self._reports.renumber(template.of)
            return
        text = _text(f"asks for version {entry.version}, as before")
        before = self._reported.get(template.of.uid)
        report = before.report if before is not None else Report(State.REQUESTED, text)
        self._reports.report(Written(template.of, report, entry.release))

    async def _decide(self, group: Group) -> None:
        """Have one deploy event for a group, unless somebody else has decided meanwhile."""
        while True:
            kept = await self.journal()
            left = Group(group.key, tuple(one for one in group.templates if _is_new(one, kept)))
            if not left.templates:
                return
            if twice := same_service(left):
                self._refuse_twice(twice)
                return
            names = frozenset(kept.journal.names)
            request = request_of(left, self._options.namespace, self._now(), names)
            try:
                plan_event(request.event, "watch", await self._catalog())
            except Rejected as why:
                for one in left.templates:
                    self._refuse(one.of, f"release of {_names(left)}: {why.text}", one)
                return
            try:
                await self._write(kept.journal.with_request(request, left.templates), kept)
            except Conflicted:
                self._kept = None
                continue
            self._tell_replicas(left)
            await self._send_pending()
            return

    async def _write(self, journal: Journal, over: Kept) -> None:
        try:
            self._kept = await self._store.write(journal, over)
        except Retryable:
            self._kept = None  # it may have been written: read it again
            raise

    async def _send_pending(self) -> None:
        """Send all that was decided on and not sent, the oldest first."""
        kept = await self.journal()
        self._metrics.pending.set(len(kept.journal.pending))
        for request in kept.journal.pending:
            try:
                await self._writer.send([request.record])
            except Terminal as error:
                _log.error("deploy_refused", release=request.deploy.release, error=str(error))
                self._report(request, Report(State.REFUSED, _text(str(error)), "DeployRefused"))
            else:
                self._metrics.releases.inc()
                _log.info(
                    "deploy_sent", release=request.deploy.release, origin=request.event.origin
                )
                text = _text(f"asked for release {request.deploy.release}")
                self._report(request, Report(State.REQUESTED, text, "ReleaseRequested"))
            await self._write_sent(request)

    async def _write_sent(self, request: Request) -> None:
        kept = await self.journal()
        while any(one.id == request.id for one in kept.journal.pending):
            try:
                await self._write(kept.journal.sent(request.id), kept)
            except Conflicted:
                self._kept = None
            kept = await self.journal()
        self._metrics.pending.set(len(kept.journal.pending))

    def _report(self, request: Request, report: Report) -> None:
        kept = self._kept
        found = kept.journal.of_release(request.deploy.release) if kept is not None else {}
        for uid, entry in found.items():
            written = self._reported[uid] = Written(entry.of(uid), report, entry.release)
            self._reports.report(written, request.id)

    def _refuse(self, of: Reference, text: str, template: Template | None = None) -> None:
        """Say on a template why nothing is done about it, as long as it is read as it was."""
        self._refused[of.uid] = template
        _log.warning("template_refused", template=str(of), generation=of.generation, why=text)
        report = Report(State.REFUSED, _text(text), "TemplateRefused")
        self._reports.report(Written(of, report), text)

    def _refuse_twice(self, twice: dict[str, list[Reference]]) -> None:
        for service, those in twice.items():
            for of in those:
                names = ", ".join(str(one) for one in those)
                self._refuse(of, f"service {service}: got {names}, expected one template of it")

    def _tell_replicas(self, group: Group) -> None:
        """A template that runs pods gives callers a version that no route names."""
        for one in group.templates:
            if one.replicas:
                text = (
                    f"spec.replicas: got {one.replicas}, expected 0: a template's own pods are "
                    "instances of no version, and a Service that selects them sends them requests"
                )
                self._reports.event(one.of, Report(State.REFUSED, text, "TemplateRunsPods"))


def _is_new(template: Template, kept: Kept) -> bool:
    entry = kept.journal.templates.get(template.of.uid)
    return entry is None or entry.generation < template.of.generation


def _names(group: Group) -> str:
    return ", ".join(f"{one.service} {one.version}" for one in group.templates[:10])


def _text(text: str) -> str:
    return cut(one_line(text), TEXT_MOST)
