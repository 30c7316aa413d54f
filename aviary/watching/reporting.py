"""Writes what became of a template back: conditions, and Kubernetes Events.

Nothing waits for it: what can't be written is tried again, and only the newest state is kept. A
Deployment has conditions in its status. Annotations of one can't be used: each change of them is a
new generation. A PodTemplate has no status, and its generation is that of its pods alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Final

import structlog

from adapters.backoff import doubling
from adapters.errors import Retryable, Terminal
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.errors import Conflicted
from adapters.kubernetes.resources import DEPLOYMENTS, EVENTS, POD_TEMPLATES, Json, Resource
from aviary.watching.status import TEXT_MOST, Report, State
from aviary.watching.templates import Reference, annotations_of, reference_of
from schemas.outside import cut

STATUS: Final = "aviary.dev/status"
"""The annotation of a PodTemplate with the state; `-text` beside it has the words."""
CONDITION: Final = "Released"
"""The condition of a Deployment: its reason is the state, its message says of which generation."""
MANAGER: Final = "aviary-watch"
"""The manager of the fields that a watcher writes."""
_CONDITIONS: Final = (CONDITION, "Reconciling", "Stalled")
_NUMBER: Final = re.compile(r"^(generation )[0-9]+", re.ASCII)
_EVENTS_MOST: Final = 2_000
_NAME_MOST: Final = 200
_RESOURCES: Final[dict[str, Resource]] = {"Deployment": DEPLOYMENTS, "PodTemplate": POD_TEMPLATES}
_log = structlog.get_logger("aviary.watch")


@dataclass(frozen=True)
class Written:
    """The state of one template."""

    of: Reference
    report: Report
    release: str = ""

    @property
    def text(self) -> str:
        """The words, and what they are about: health checks read the generation."""
        about = f"release {self.release}: " if self.release else ""
        return cut(f"generation {self.of.generation}: {about}{self.report.text}", TEXT_MOST)


@dataclass(frozen=True)
class _Event:
    of: Reference
    report: Report
    once: str
    """Of what: the same is written once."""


class Reporter:
    """Keeps what is to be written, and writes it.

    Args:
        client: of the cluster.
        namespace: of the templates.
        now: the time of day.
        sleep: waits so many seconds.
    """

    def __init__(
        self,
        client: KubernetesClient,
        namespace: str,
        *,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._client, self._namespace = client, namespace
        self._now, self._sleep = now, sleep
        self._states: dict[str, Written | Reference] = {}
        self._last: dict[str, Written] = {}
        self._events: deque[_Event] = deque(maxlen=_EVENTS_MOST)
        self._more = asyncio.Event()

    def report(self, written: Written, once: str = "") -> None:
        """Have a state on its template, and an Event where the report has a reason.

        Args:
            written: in place of what the template was told before.
            once: of what the Event is; the same one is written once.
        """
        uid = written.of.uid
        if written == self._last.get(uid):
            return
        self._states[uid] = self._last[uid] = written
        if written.report.reason:
            self.event(written.of, written.report, once)
        self._more.set()

    def renumber(self, of: Reference) -> None:
        """Have the number of a newer state beside what the template was told before."""
        waiting = self._states.get(of.uid)
        if isinstance(waiting, Written):
            self._states[of.uid] = self._last[of.uid] = replace(waiting, of=of)
        else:
            self._states[of.uid] = of
        self._more.set()

    def event(self, of: Reference, report: Report, once: str = "") -> None:
        """Write an Event alone."""
        self._events.append(_Event(of, report, once or of.mark))
        self._more.set()

    def forget(self, uid: str) -> None:
        """A template is gone."""
        self._states.pop(uid, None)
        self._last.pop(uid, None)

    async def run(self) -> None:
        """Write for ever."""
        pauses = doubling()
        while True:
            await self._more.wait()
            self._more.clear()
            try:
                await self._write_all()
            except Retryable as error:
                pause = next(pauses)
                _log.warning("status_not_written", error=str(error), delay_s=pause)
                self._more.set()
                await self._sleep(pause)
            else:
                pauses = doubling()

    async def _write_all(self) -> None:
        while self._states or self._events:
            if self._states:
                uid, state = next(iter(self._states.items()))
                if isinstance(state, Written):
                    await self._each(state.of, self._write(state))
                else:
                    await self._each(state, self._renumber(state))
                if self._states.get(uid) is state:
                    del self._states[uid]
            if self._events:
                event = self._events[0]
                await self._each(event.of, self._write_event(event))
                if self._events and self._events[0] is event:
                    self._events.popleft()

    @staticmethod
    async def _each(of: Reference, writing: Awaitable[object]) -> None:
        """Write one thing; what is refused for good is logged, and left."""
        try:
            await writing
        except Terminal as error:
            _log.warning("status_refused", template=str(of), error=str(error))

    async def _write(self, written: Written) -> None:
        of, report = written.of, written.report
        if _RESOURCES[of.kind] is DEPLOYMENTS:
            if (before := await self._conditions(of)) is not None:
                made = conditions_of(report, written.text, before, self._now())
                await self._set_conditions(of, made)
            return
        # With its uid: one of the same name that has taken its place is told nothing.
        said = {STATUS: report.state.value, f"{STATUS}-text": written.text}
        await self._annotate(of, said)

    async def _renumber(self, of: Reference) -> None:
        """Say of what is there that it is true of a newer generation as well."""
        resource, number = _RESOURCES[of.kind], rf"\g<1>{of.generation}"
        if resource is DEPLOYMENTS:
            before = await self._conditions(of) or {}
            ours = [before[name] for name in _CONDITIONS if name in before]
            said = [one | {"message": _NUMBER.sub(number, str(one["message"]))} for one in ours]
            if said and said != ours:
                await self._set_conditions(of, said)
            return
        found = await self._client.get(resource, of.name, self._namespace)
        text = annotations_of(found or {}).get(f"{STATUS}-text", "")
        await self._annotate(of, {f"{STATUS}-text": _NUMBER.sub(number, text) or None})

    async def _conditions(self, of: Reference) -> dict[str, Json] | None:
        """The conditions of a Deployment by type; None where another one has taken its place."""
        found = await self._client.get(DEPLOYMENTS, of.name, self._namespace)
        if found is None or reference_of(found).uid != of.uid:
            return None
        said = (found.get("status") or {}).get("conditions") or ()
        return {str(one.get("type")): one for one in said if isinstance(one, dict)}

    async def _set_conditions(self, of: Reference, said: list[Json]) -> None:
        body = {"metadata": {"name": of.name, "uid": of.uid}, "status": {"conditions": said}}
        try:
            await self._client.apply(DEPLOYMENTS, body, self._namespace, force=True, part="status")
        except Conflicted as error:
            _log.info("template_replaced", template=str(of), error=str(error))

    async def _annotate(self, of: Reference, said: Mapping[str, str | None]) -> None:
        body = {"metadata": {"uid": of.uid, "annotations": dict(said)}}
        try:
            await self._client.patch(_RESOURCES[of.kind], of.name, body, self._namespace)
        except Conflicted as error:
            _log.info("template_replaced", template=str(of), error=str(error))

    async def _write_event(self, event: _Event) -> None:
        of, report, at = event.of, event.report, _stamp(self._now())
        once = f"{of.mark}\n{report.reason}\n{event.once}\n{report.text}"
        digest = hashlib.sha256(once.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        resource = _RESOURCES[of.kind]
        body: Json = {
            "metadata": {"name": f"{of.name[:_NAME_MOST].rstrip('-.')}.{digest}"},
            "involvedObject": {
                "apiVersion": resource.api,
                "kind": of.kind,
                "name": of.name,
                "namespace": self._namespace,
                "uid": of.uid,
            },
            "type": "Warning" if report.is_warning else "Normal",
            "reason": report.reason,
            "message": report.text,
            "source": {"component": MANAGER},
            "reportingComponent": MANAGER,
            "firstTimestamp": at,
            "lastTimestamp": at,
            "count": 1,
        }
        try:
            await self._client.create(EVENTS, body, self._namespace)
        except Conflicted as error:
            if not error.exists:
                raise


def conditions_of(
    report: Report, text: str, before: Mapping[str, Json], at: datetime
) -> list[Json]:
    """The conditions that kstatus, and so Flux, looks for, and one of our own.

    Args:
        report: the state.
        text: of each of them.
        before: those that there are, by type.
        at: when this was written.
    """
    done, failed = report.state is State.FINALIZED, report.state.is_failure
    said = dict(zip(_CONDITIONS, (done, not done and not failed, failed), strict=True))
    made: list[Json] = []
    for name, holds in said.items():
        status, old = ("True" if holds else "False"), before.get(name, {})
        since = old.get("lastTransitionTime") if old.get("status") == status else None
        made.append(
            {
                "type": name,
                "status": status,
                "reason": report.state.value,
                "message": text,
                "lastTransitionTime": since or _stamp(at),
                "lastUpdateTime": _stamp(at),
            }
        )
    return made


def _stamp(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
