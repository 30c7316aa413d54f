"""Where every service of a release is, by what its canary last reported. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime

from schemas.fitting import fitted
from schemas.lane_counts import WINDOWS_MOST, LaneCounts, LaneSeen, seen_of
from schemas.measured import Measured
from schemas.release import (
    REPORT_BYTES,
    CanaryOutcome,
    CanaryPhase,
    CanaryReport,
    Command,
    ReleasePhase,
    ReleasePlan,
    ServiceStatus,
)
from schemas.verdict import Verdict
from schemas.waits import pauses
from workflows import describe
from workflows.commands import CommandKind

_OF_ONE_WAIT = frozenset({CommandKind.APPROVE, CommandKind.SKIP, CommandKind.KEEP})
"""Commands that are made for ending one thing."""


class ServiceStates:
    """The services of one release, in dependency order."""

    def __init__(self, plan: ReleasePlan) -> None:
        self._plan = plan
        self._order = tuple(service for stage in plan.stages for service in stage)
        self._reports: dict[str, CanaryReport] = {}
        self._watched_until: dict[str, datetime] = {}
        self._lanes: dict[str, dict[datetime, LaneCounts]] = defaultdict(dict)
        self._seen: dict[str, LaneSeen] = {}
        self._in_front = plan.in_front
        self.depends_on = {name: plan.services[name].depends_on for name in self._order}
        self.groups = {name: plan.services[name].group for name in self._order}
        self.phases = dict.fromkeys(self._order, CanaryPhase.WAITING)
        self.notes = dict.fromkeys(self._order, "the release's turn")
        """What services wait for that neither their canaries nor the order tells."""
        self.verdict: Verdict | None = None
        """The last that any canary reported."""

    def set_phase(self, service: str, phase: CanaryPhase) -> None:
        """Record a phase that no report tells."""
        self.phases[service] = phase

    def take(self, report: CanaryReport) -> bool:
        """Keep a report; False when a newer one is known, or the service has closed."""
        known = self._reports.get(report.service)
        if report.service not in self.phases or self.phases[report.service].closed:
            return False
        # By time first: a canary that was reset counts anew, from what it remembers.
        if known is not None and (known.at, known.sequence) >= (report.at, report.sequence):
            return False
        report = fitted(report, REPORT_BYTES)
        self._reports[report.service] = report
        self._count(report.service, report.measured)
        self.verdict = report.verdict or self.verdict
        if not report.phase.closed:  # closed is the workflow's end, not its word
            self.phases[report.service] = report.phase
        return True

    def close(self, service: str, outcome: CanaryOutcome) -> None:
        """A canary has ended."""
        self.phases[service] = outcome.phase
        self._count(service, outcome.measured)
        if outcome.watched_until is not None:
            self._watched_until[service] = outcome.watched_until

    def _count(self, service: str, measured: Sequence[Measured]) -> None:
        """Keep what came with the lane, of bakes that may be told of several times."""
        new = {one.lane.began_at: one.lane for one in measured if one.lane is not None}
        if new:
            known = {**self._lanes[service], **new}
            self._lanes[service] = dict(sorted(known.items())[-WINDOWS_MOST:])
            counts = {name: tuple(each.values()) for name, each in self._lanes.items()}
            self._seen = seen_of(counts, self._in_front)

    def lost(self, service: str) -> None:
        """A canary was lost: it may have traffic, and a new run counts its reports from 0."""
        self._reports.pop(service, None)
        self.phases[service] = CanaryPhase.HOLDING

    def goes_back_to(self, service: str) -> str | None:
        """The version that a service's canary would go back to; None where none runs."""
        report = self._reports.get(service)
        if report is None or self.phases[service].closed:
            return None
        changes = report.stable != self._plan.services[service].version
        return report.stable if changes else None

    @property
    def pausing(self) -> frozenset[str]:
        """Services whose canaries pause: the release then starts and finalizes nothing."""
        return frozenset(
            service
            for service, report in self._reports.items()
            if report.paused and not self.phases[service].closed
        )

    @property
    def points(self) -> dict[str, int]:
        """The last point of its group that each canary has come to."""
        return {service: report.point for service, report in self._reports.items()}

    def statuses(self) -> tuple[ServiceStatus, ...]:
        """Every service, for people."""
        return tuple(self._status(service) for service in self._order)

    def _status(self, service: str) -> ServiceStatus:
        planned = self._plan.services[service]
        report = self._reports.get(service)
        phase = self.phases[service]
        waits_for = "" if phase.closed else self.notes.get(service, "")
        if phase is CanaryPhase.WAITING and not waits_for:
            needs = [
                need for need in planned.depends_on if self.phases[need] is not CanaryPhase.HOLDING
            ]
            waits_for = ", ".join(needs) + " to hold" if needs else "a free place"
        common = {
            "service": service,
            "version": planned.version,
            "depends_on": planned.depends_on,
            "group": planned.group,
            "phase": phase,
            "watched_until": self._watched_until.get(service),
            "lane": self._seen.get(service),
        }
        if report is None:
            return ServiceStatus.model_validate({**common, "waits_for": waits_for})
        return ServiceStatus.model_validate(
            {
                **common,
                "weight": phase.weight(report.weight),
                "copied": 0.0 if phase.closed else report.copied,
                "whom": report.whom,
                "step": report.step,
                "steps": report.steps,
                "stable": report.stable,
                "waits_for": "" if phase.closed else report.waits_for,
                "paused": report.paused and not phase.closed,
                "ends_by": () if phase.closed else report.ends_by,
                "picks": () if phase.closed else report.picks,
                "verdict": report.verdict,
                "cause": report.cause,
            }
        )

    def targets(self, kind: CommandKind, command: Command) -> list[str]:
        """The services a command is for: the one it names, or all that it applies to."""
        if command.service is not None:
            return [command.service]
        return [
            service
            for service, phase in self.phases.items()
            if not phase.closed and phase is not CanaryPhase.WAITING and _applies(kind, phase)
        ] or [service for service in self._reports if self._ends(kind, service)]

    def _ends(self, kind: CommandKind, service: str) -> bool:
        """Whether the word ends what the service waits for, beside what it is made for."""
        if self.phases[service].closed:
            return False
        report = self._reports.get(service)
        if report is None:  # it may not have come to telling that it asks for alerts
            before = self.phases[service] is CanaryPhase.PREFLIGHT
            return before and kind in {CommandKind.SKIP, CommandKind.APPROVE}
        return kind in report.ends_by

    def refusal(
        self, kind: CommandKind, command: Command, release: ReleasePhase, *, paused: bool
    ) -> str | None:
        """Why a command makes no sense now, in words; None when it does."""
        if command.service is not None and command.service not in self.phases:
            return f"service: {command.service} is not in this release: {', '.join(self._order)}"
        if kind is CommandKind.KEEP:
            return self._nothing_to_keep(command)
        if not release.forward:
            one_more = kind is CommandKind.ROLLBACK and command.service is not None
            if release is ReleasePhase.ROLLING_BACK and one_more:
                return None
            return f"too late: the release is {release.words}"
        return self._makes_no_sense(kind, command, paused=paused)

    def _nothing_to_keep(self, command: Command) -> str | None:
        asked = [one for one in self._reports if self._ends(CommandKind.KEEP, one)]
        if command.service in asked or (command.service is None and len(asked) == 1):
            return None
        if command.service is None and asked:
            return f"service: expected one of {', '.join(asked)}, each a decision of its own"
        return f"no rollback waits for a healthy instance; {self._where(command)}"

    def _makes_no_sense(self, kind: CommandKind, command: Command, *, paused: bool) -> str | None:
        if kind is CommandKind.PAUSE and paused:
            return "the release is paused already"
        if kind is CommandKind.RESUME and not (
            paused or any(pauses(one) for one in self.statuses())
        ):
            return "the release is not paused"
        if kind in _OF_ONE_WAIT:
            return self._nothing_applies(kind, command)
        return None

    def _nothing_applies(self, kind: CommandKind, command: Command) -> str | None:
        for service in self.targets(kind, command):
            if _applies(kind, self.phases[service]) or self._ends(kind, service):
                return None
        what = "gate is open" if kind is CommandKind.APPROVE else "bake is running"
        return f"no {what}; {self._where(command)}"

    def _where(self, command: Command) -> str:
        return "; ".join(
            f"{one.service} is {describe.phase(one.phase, one.step, one.steps)}"
            for one in self.statuses()
            if command.service in {None, one.service}
        )

    @property
    def away(self) -> frozenset[str]:
        """Services that are stuck for another reason than traffic: their canaries have none."""
        return frozenset(
            service
            for service, report in self._reports.items()
            if self.phases[service] is CanaryPhase.STUCK and self._ends(CommandKind.KEEP, service)
        )


def _applies(kind: CommandKind, phase: CanaryPhase) -> bool:
    """Whether a canary in this phase can take the command."""
    return kind not in _OF_ONE_WAIT or phase.about.ends_by == kind
