"""Puts the histories of a release and of its canaries together. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from temporalio.client import WorkflowHistory

from aviary.history.canary import CanaryReader, closed, next_run
from aviary.history.events import RecordedEvents, read
from aviary.history.release import ReleaseReader
from aviary.history.reports import decisions_told, moments_told
from schemas.decisions import DecisionRecord
from schemas.event_kinds import MomentKind
from schemas.live import Live
from schemas.release import CanaryPhase, CanaryReport, ReleasePhase
from schemas.timeline import CanaryRun, Judging, Moment, ServiceTimeline, Timeline


def build(
    release: WorkflowHistory,
    canaries: Mapping[str, WorkflowHistory],
    live: Mapping[str, Live] | None = None,
    asked: Mapping[str, Sequence[DecisionRecord]] | None = None,
    asked_release: Sequence[DecisionRecord] | None = None,
) -> Timeline:
    """The timeline of a release.

    Args:
        release: the history of its workflow.
        canaries: histories of its canaries, by run id. One that is not here is told of only as far
            as the release's own history goes, and `unseen` says so.
        live: what bakes that run have seen so far, by run id of the canary.
        asked: the decisions of canaries that run, as they have them now, by run id.
        asked_release: those of the release itself, where it runs and was asked.

    Raises:
        pydantic.ValidationError: a history of another version, which this one can't read.
    """
    reader = ReleaseReader(read(release), asked_release)
    histories = {run_id: read(one) for run_id, one in canaries.items()}
    pieces = _Pieces(reader, histories, live or {}, asked or {})
    phases = reader.phases()
    end = reader.closed
    services = {name: pieces.service(name) for stage in reader.plan.stages for name in stage}
    return Timeline(
        release=reader.plan.release,
        run_id=release.run_id,
        execution=end[0] if end else "running",
        plan=reader.plan,
        phase=phases[-1].phase if phases else ReleasePhase.QUEUED,
        cause=next((one.cause for one in phases if one.cause is not None), None),
        started_at=reader.started_at,
        finished_at=end[1] if end else None,
        services=services,
        moments=tuple(sorted(pieces.moments(), key=lambda one: one.at)),
        audit=reader.audit,
        unseen=tuple(pieces.unseen()),
    )


class _Pieces:
    """The parts of one timeline."""

    def __init__(
        self,
        reader: ReleaseReader,
        histories: Mapping[str, RecordedEvents],
        live: Mapping[str, Live],
        asked: Mapping[str, Sequence[DecisionRecord]],
    ) -> None:
        self._reader = reader
        self._live = live
        self._runs = {
            name: [one for run in runs for one in _with_later(run, histories)]
            for name, runs in reader.runs().items()
        }
        self._canaries = {
            run.run_id: CanaryReader(
                reader.plan.services[name],
                run.run_id,
                histories[run.run_id],
                asked.get(run.run_id),
            )
            for name, runs in self._runs.items()
            for run in runs
            if run.run_id in histories
        }
        self._histories = histories
        self._reports = self._distinct()

    def _distinct(self) -> dict[str, list[CanaryReport]]:
        """Every report once: one may be in a canary's history and in the release's."""
        told = [*self._reader.reports()]
        for canary in self._canaries.values():
            told += canary.reports()
        once = {(one.service, one.sequence, one.at): one for one in told}
        found: dict[str, list[CanaryReport]] = {name: [] for name in self._runs}
        for report in sorted(once.values(), key=lambda one: (one.at, one.sequence)):
            found[report.service].append(report)
        return found

    def service(self, name: str) -> ServiceTimeline:
        """One service."""
        reports = self._reports[name]
        canaries = self._of(name)
        stables = [*(one.stable for one in reports), *(one.stable for one in canaries)]
        weights = [one.weight for one in self._ordered(name) if one.weight is not None]
        return ServiceTimeline(
            plan=self._reader.plan.services[name],
            phase=self._phase(name),
            weight=weights[-1] if weights else 0.0,
            stable=next((one for one in stables if one), None),
            runs=tuple(self._run(run) for run in self._runs[name]),
            judgings=tuple(judging for one in canaries for judging in self._judgings(one)),
        )

    def _of(self, name: str) -> list[CanaryReader]:
        runs = [run.run_id for run in self._runs[name]]
        return [self._canaries[run_id] for run_id in runs if run_id in self._canaries]

    def _run(self, run: CanaryRun) -> CanaryRun:
        recorded = self._histories.get(run.run_id)
        if recorded is None:
            return run.model_copy(update={"seen": False})
        end = closed(recorded)
        return run.model_copy(update={"ended": end[0], "ended_at": end[1]}) if end else run

    def _judgings(self, canary: CanaryReader) -> list[Judging]:
        found = [*canary.judgings()]
        live = self._live.get(canary.run_id)
        if live is not None and found and found[-1].ended_at is None:
            found[-1] = found[-1].model_copy(update={"live": live})
        return found

    def _phase(self, name: str) -> CanaryPhase:
        result = self._reader.result
        if result is not None:
            return next(one.phase for one in result.services if one.service == name)
        if self._reports[name]:
            return self._reports[name][-1].phase
        return CanaryPhase.PREFLIGHT if self._runs[name] else CanaryPhase.WAITING

    # --- moments ---

    def moments(self) -> Iterator[Moment]:
        """Everything that happened, in no order."""
        yield from self._reader.moments()
        for name in self._runs:
            yield from self._ordered(name)
        yield from self._never_begun()

    def _ordered(self, name: str) -> list[Moment]:
        """What a service's canaries did and told."""
        canaries = self._of(name)
        whole = len(canaries) == len(self._runs[name])
        plan = self._reader.plan.services[name]
        found = [*moments_told(plan, self._reports[name], alone=not whole)]
        for canary in canaries:
            found += canary.moments()
        if not whole:
            found += decisions_told(plan, self._recorded_elsewhere(name))
        return sorted(_once(found), key=lambda one: one.at)

    def _recorded_elsewhere(self, name: str) -> Iterator[DecisionRecord]:
        """The decisions of a service's canaries that are in the release's history alone."""
        told = dict.fromkeys(one for report in self._reports[name] for one in report.decisions)
        told |= dict.fromkeys(self._reader.decisions(name))
        seen = {one for canary in self._of(name) for one in canary.decided.records}
        return (one for one in told if one not in seen)

    def _never_begun(self) -> Iterator[Moment]:
        result = self._reader.result
        for one in result.services if result is not None else ():
            if one.phase is CanaryPhase.SKIPPED and result is not None:
                yield Moment(
                    at=result.cause.at if result.cause else result.started_at,
                    kind=MomentKind.SKIPPED,
                    service=one.service,
                    text=f"{one.service} was never begun",
                )

    def unseen(self) -> Iterator[str]:
        """What could not be read, in words."""
        for name, runs in self._runs.items():
            for run in runs:
                if run.run_id not in self._canaries:
                    yield (
                        f"the history of {name}'s canary (run {run.run_id}) is gone: its verdicts, "
                        "alerts and attempts are known only as far as it told the release"
                    )


def _with_later(run: CanaryRun, histories: Mapping[str, RecordedEvents]) -> Iterator[CanaryRun]:
    """A run, and those that went on when its history had become long."""
    later: str | None = run.run_id
    while later is not None:
        run = run.model_copy(update={"run_id": later})
        yield run
        recorded = histories.get(later)
        later = next_run(recorded) if recorded is not None else None


def _once(moments: list[Moment]) -> Iterator[Moment]:
    """Drop what two sources tell: a verdict of a report that the judge's own result has as well."""
    seen = set()
    for one in sorted(moments, key=lambda one: one.at):
        if one.verdict is not None and one.kind is MomentKind.JUDGED:
            key = (one.verdict.at, one.verdict.sentence)
            if key in seen:
                continue
            seen.add(key)
        yield one
