"""What a release tells the world: one event for each change, and notices for people."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas import waits
    from schemas.chain import Chain, ChainEnd
    from schemas.commit import of_commit
    from schemas.decisions import DecisionRecord
    from schemas.event_kinds import EventType, NoticeKind
    from schemas.events import event
    from schemas.ids import SIGNAL_ROLLBACK, release_workflow_id
    from schemas.measured import Measured
    from schemas.notice import Notice
    from schemas.outside import cut
    from schemas.release import (
        CanaryPhase,
        CanaryReport,
        Cause,
        ReleasePhase,
        ReleasePlan,
        ServiceStatus,
    )
    from workflows import describe
    from workflows.cell import here
    from workflows.outbox import Announcer, fitting
    from workflows.reset import resets
    from workflows.untold import Heard

_WAIT_MOST = 1000
"""Of what is waited for, in a notice, in characters: the commands must have room."""
_TOLD = ("phase", "weight", "step", "stable", "verdict", "cause", "paused")
"""What an event must tell when it changes; the rest is words for people."""
_NOT_TOLD = {"depends_on", "group", "ends_by", "picks", "watched_until", "lane"}
"""Of a service's status, what no event of a canary has."""


class ReleaseEvents:
    """Turns changes into events and notices, numbered in the order they were seen."""

    def __init__(self, plan: ReleasePlan, announcer: Announcer) -> None:
        self._plan = plan
        self._announcer = announcer
        self._sequence = 0
        self._resets = 0
        self._chain = Chain()
        self._heard: dict[str, Heard] = defaultdict(Heard)
        self._told: dict[str, CanaryReport] = {}
        self._seen: dict[str, ServiceStatus] = {}
        self._known: dict[str, dict[str, Any]] = {
            name: {"phase": CanaryPhase.WAITING.value, "weight": 0.0, "paused": False}
            for name in plan.services
        }

    def _begin_anew(self) -> None:
        """After a reset: the numbers from here on may be given to other events already."""
        self._resets = resets()
        # In milliseconds: a run that is soon reset again has not told so many events meanwhile.
        self._sequence = max(self._sequence, int(1000 * workflow.now().timestamp()))
        self._chain.begin_anew()

    @property
    def end(self) -> ChainEnd | None:
        """Where the hash chain of the events ends; None before it does."""
        return self._chain.end

    def release(self, phase: ReleasePhase, cause: Cause | None) -> None:
        """The release entered a phase."""
        data: dict[str, Any] = {"labels": self._plan.labels, "cause": _plain(cause)}
        if phase is ReleasePhase.RUNNING:
            data |= self._contents()
        elif phase is ReleasePhase.ROLLING_BACK:
            data["services"] = self._contents()["services"]
        elif phase.closed:
            data["links"] = self._chain.next_number + 1
        self._event(phase.about.event, self._plan.release, data)
        kind = phase.about.notice
        if kind is not None:
            text = f"release {self._plan.release} is {phase.words}"
            self._notice(kind, None, f"{text}: {cause.text}" if cause else text)

    def queued(self, waits_for: str) -> None:
        """The release can't begin: others have its services, or are ahead of it."""
        data = {"labels": self._plan.labels, "waits_for": waits_for, **self._contents()}
        self._event(ReleasePhase.QUEUED.about.event, self._plan.release, data)

    def _contents(self) -> dict[str, Any]:
        versions = {name: one.version for name, one in self._plan.services.items()}
        needs = {name: one.depends_on for name, one in self._plan.services.items()}
        return {
            "services": versions,
            "stages": self._plan.stages,
            "depends_on": needs,
            "groups": self._plan.groups,
        }

    def paused(self, *, paused: bool, text: str) -> None:
        """A person paused or resumed the release."""
        kind = EventType.RELEASE_PAUSED if paused else EventType.RELEASE_RESUMED
        self._event(kind, self._plan.release, {"text": text})

    def decided(self, record: DecisionRecord) -> None:
        """The release itself heard something, and did something."""
        data = {"service": None, "version": None, "decision": record.model_dump(mode="json")}
        self._event(EventType.DECISION_MADE, self._plan.release, data)

    def evidence(
        self, service: str, decisions: Sequence[DecisionRecord], measured: Sequence[Measured]
    ) -> None:
        """What a canary has decided, and on which counts; what was told of before is left out."""
        of = {"service": service, "version": self._plan.services[service].version}
        heard = self._heard[service]
        for bake in heard.new_measured(measured):
            data = {**of, **bake.model_dump(mode="json")}
            self._event(EventType.EVIDENCE_MEASURED, service, data)
        for record in heard.new_decisions(decisions):
            data = {**of, "decision": record.model_dump(mode="json")}
            self._event(EventType.DECISION_MADE, service, data)

    def canary(self, report: CanaryReport) -> None:
        """A canary reported."""
        self.evidence(report.service, report.decisions, report.measured)
        before = self._told.get(report.service)
        self._told[report.service] = report
        known = report.stable == self._plan.services[report.service].version
        moved = not (known or report.phase.closed)
        if moved and report.weight and (before is None or _share(before) != _share(report)):
            self._canary_event(EventType.CANARY_SHIFTED, report)
        if report.verdict and (before is None or before.verdict != report.verdict):
            self._canary_event(EventType.CANARY_JUDGED, report)
        changed = before is None or _place(before) != _place(report)
        kind = report.phase.about.event
        if changed and kind is not None:
            self._canary_event(kind, report)
        notice = report.phase.about.notice
        if changed and notice is not None:
            self._notice_wait(notice, report, f"is {report.phase}")

        if report.paused and not (before is not None and before.paused):
            self._notice_wait(NoticeKind.WAITING, report, "goes no further")
        if self._differs(_state(report)):
            self._canary_event(EventType.CANARY_CHANGED, report)

    def services(self, statuses: Iterable[ServiceStatus]) -> None:
        """Tell what no report told: a service that was begun, skipped or lost, or has closed."""
        for status in statuses:
            if self._seen.get(status.service) == status:
                continue
            self._seen[status.service] = status
            if self._ended(status.service) and not status.phase.closed:
                continue  # it has said so itself, before its workflow ended
            paused = self._known[status.service].get("paused", False)
            state = {
                **status.model_dump(mode="json", exclude=_NOT_TOLD),
                "paused": paused,
            }
            if self._differs(state):
                self._tell(EventType.CANARY_CHANGED, state)

    def _ended(self, service: str) -> bool:
        return CanaryPhase(self._known[service]["phase"]).closed

    def _differs(self, state: dict[str, Any]) -> bool:
        """Whether the events so far tell another state; words for people alone don't count."""
        known = self._known[state["service"]]
        return any(known.get(field) != state[field] for field in _TOLD)

    def _canary_event(self, kind: EventType, report: CanaryReport) -> None:
        self._tell(kind, {"version": self._plan.services[report.service].version, **_state(report)})

    def _tell(self, kind: EventType, state: dict[str, Any]) -> None:
        self._known[state["service"]] = state
        self._event(kind, state["service"], state)

    def _event(self, kind: EventType, subject: str, data: dict[str, Any]) -> None:
        if self._chain.ended:
            workflow.logger.warning("an event after the last", extra={"event_type": kind})
            return
        if resets() > self._resets:
            self._begin_anew()
        release = self._plan.release
        said = event(
            release_workflow_id(release, here()),
            self._sequence,
            kind,
            release=release,
            subject=subject,
            time=workflow.now(),
            data={"release": release, "environment": self._plan.environment, **data},
        )
        self._announcer.publish(self._chain.link(fitting(said)))
        self._sequence += 1

    def _notice_wait(self, kind: NoticeKind, report: CanaryReport, what: str) -> None:
        """A wait, and the commands that end it."""
        text = f"{report.service} {what}: waits for {cut(report.waits_for, _WAIT_MOST)}"
        words = waits.ends(report)
        if words:
            lines = waits.commands(words, self._plan.release, report.service)
            text += f". To go on: {lines}. To go back: "
            text += waits.command(SIGNAL_ROLLBACK, self._plan.release)
        self._notice(kind, report.service, text)

    def _notice(self, kind: NoticeKind, service: str | None, text: str) -> None:
        self._announcer.notify(
            Notice(
                kind=kind,
                release=self._plan.release,
                service=service,
                text=text,
                at=workflow.now(),
                version=self._plan.services[service].version if service else None,
                services=() if service else tuple(self._plan.services),
                environment=self._plan.environment,
                labels=of_commit(self._plan.labels),
            )
        )


def _state(report: CanaryReport) -> dict[str, Any]:
    words = {"sequence", "point", "at", "ends_by", "picks", "decisions", "measured"}
    data = report.model_dump(mode="json", exclude=words)
    return data | {"weight": report.phase.weight(report.weight)}


def _share(report: CanaryReport) -> tuple[float, str]:
    return report.weight, report.whom


def _place(report: CanaryReport) -> tuple[Any, ...]:
    """Where a canary is; to be stuck for another reason, or for one at last, is another place."""
    if report.phase is not CanaryPhase.STUCK:
        return report.phase, report.step
    return report.phase, report.step, report.ends_by, describe.LAST_FAILURE in report.waits_for


def _plain(cause: Cause | None) -> dict[str, Any] | None:
    return cause.model_dump(mode="json") if cause else None
