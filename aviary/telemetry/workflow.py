"""Spans of workflows and activities, and the context that goes from one to the next.

Temporal's own interceptor makes the spans of clients and activities. Those of workflows are made
here, since three things have to be otherwise for releases that last hours and go back on an alert:

- *Ids are derived* from the run, the name and a count, so that the same span has the same id on
  every replay and worker, and a parent is never lost with a cache. A replay exports nothing, and a
  task that is done again exports nothing twice, even if it hears one signal more than before.
- *A signal or update belongs to the trace of whoever sent it*, with a link to the workflow's own.
  Once one has made the workflow go back, all that follows belongs to that trace, too: from an
  alert's webhook to the write that restores the traffic it is one.
- *Spans are exported when they end*, and nothing waits for the end of the release: a span of no
  length marks the beginning and is the parent of all, each phase of a canary is one of its true
  length, and one as long as the whole run closes it.
"""

from __future__ import annotations

import contextvars
import functools
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, NoReturn

import structlog
from opentelemetry import trace
from opentelemetry.trace import SpanKind
from temporalio import workflow
from temporalio.contrib.opentelemetry import TracingInterceptor
from temporalio.exceptions import FailureError
from temporalio.worker import (
    ActivityInboundInterceptor,
    ContinueAsNewInput,
    ExecuteActivityInput,
    ExecuteWorkflowInput,
    HandleSignalInput,
    HandleUpdateInput,
    SignalChildWorkflowInput,
    SignalExternalWorkflowInput,
    StartActivityInput,
    StartChildWorkflowInput,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)

from aviary.telemetry.carrier import Place, derived, enter, from_temporal, to_temporal
from aviary.telemetry.spans import Ended, Value, export, is_recorded, root_flags, tracer
from aviary.telemetry.subject import subject_of
from schemas.ids import (
    ADMISSION_WORKFLOW,
    SIGNAL_ADMISSION,
    SIGNAL_ALERT,
    SIGNAL_ASK,
    SIGNAL_LEAVE,
    SIGNAL_REPORT,
)
from schemas.release import CanaryReport
from workflows.commands import MayGoBack

_QUIET: Final = frozenset({SIGNAL_REPORT, SIGNAL_ADMISSION, SIGNAL_ASK, SIGNAL_LEAVE})
"""Signals between workflows that are many and mean little: they carry the context, no span."""
_EXPORT: Final = "__aviary_export"
_RECORDED: Final = "__aviary_is_recorded"
_FLAGS: Final = "__aviary_root_flags"
_Headers = dict[str, str]

_here: contextvars.ContextVar[_Headers | None] = contextvars.ContextVar("aviary_here", default=None)
"""The carrier of the signal or update that is being handled; None outside of handlers."""


class TraceInterceptor(TracingInterceptor):
    """Give it to the client that workers use: that is where they get it from as well."""

    def __init__(self) -> None:
        """Use Aviary's tracer, which does nothing without an exporter."""
        super().__init__(tracer())

    def intercept_activity(
        self,
        next: ActivityInboundInterceptor,  # noqa: A002 - the SDK's signature
    ) -> ActivityInboundInterceptor:
        """A span for each attempt of an activity, which says what it is about."""
        return super().intercept_activity(_Described(next))

    def workflow_interceptor_class(  # type: ignore[override]  # ours in place of the SDK's
        self,
        input: WorkflowInterceptorClassInput,  # noqa: A002 - the SDK's signature
    ) -> type[WorkflowInboundInterceptor]:
        """The class that traces each run."""
        input.unsafe_extern_functions.update(
            {_EXPORT: export, _RECORDED: is_recorded, _FLAGS: root_flags}
        )
        return _Inbound


class _Described(ActivityInboundInterceptor):
    async def execute_activity(self, input: ExecuteActivityInput) -> Any:  # noqa: A002
        about = subject_of(input.args)
        structlog.contextvars.bind_contextvars(**_words(about))
        span = trace.get_current_span()
        for key, value in about.items():
            span.set_attribute(f"aviary.{key}", value)
        return await super().execute_activity(input)


def _words(about: dict[str, Value]) -> dict[str, Value]:
    return {key: about[key] for key in ("release", "service") if key in about}


@dataclass(frozen=True)
class _Phase:
    """Where a canary is, since when, and on whose behalf."""

    report: CanaryReport
    carrier: _Headers

    def same(self, report: CanaryReport) -> bool:
        return (self.report.phase, self.report.step) == (report.phase, report.step)


class _Run:
    """The trace of one workflow run."""

    def __init__(self) -> None:
        info = workflow.info()
        externs = workflow.extern_functions()
        self._export: Any = externs[_EXPORT]
        self._recorded = bool(externs[_RECORDED]())
        self._run_id = info.run_id
        self._counts: Counter[str] = Counter()
        self._phase: _Phase | None = None
        self._attributes: dict[str, Value] = {
            "temporalWorkflowID": info.workflow_id,
            "temporalRunID": info.run_id,
        }
        self.about: dict[str, Value] = {}
        self.parent = from_temporal(info.headers)
        self.own = self._begin(info.workflow_type, externs[_FLAGS])
        self.turned: _Headers | None = None
        """The carrier of what made this workflow go back."""
        self.heard: _Headers | None = None
        """That of the newest alert that is thought about: it may make it go back later."""

    def _begin(self, kind: str, root_flags: Any) -> _Headers:
        """The run's own place: below what started it, or at the root of a trace.

        The admission serves all releases: it begins a trace, and is not of the one that woke it.
        """
        parent = Place.of(self.parent)
        own = kind == ADMISSION_WORKFLOW
        if not self._recorded:
            return {} if own else self.parent
        trace_id, span_id = derived("run", self._run_id)
        if parent is None or own:
            return Place(trace_id, span_id, root_flags(trace_id)).carrier()
        return Place(parent.trace_id, span_id, parent.flags).carrier(self.parent)

    def carrier(self) -> _Headers:
        """What goes on to whatever is started now."""
        if self.turned is None and self.heard is not None and _goes_back(alert=True):
            self.turn(self.heard)
        return _here.get() or self.turned or self.own

    def tell_of(self, args: Any) -> None:
        """Say in every span and log line what the run is about."""
        self.about = subject_of(args)
        self._attributes |= {f"aviary.{key}": value for key, value in self.about.items()}

    def begin(self, name: str) -> int:
        """Export the beginning; returns when that is, in nanoseconds."""
        now = workflow.time_ns()
        place = Place.of(self.own)
        if place is not None and self._recorded:
            ours = self._same_trace(self.parent, self.own)
            parent, link = (self.parent, None) if ours else ({}, self.parent)
            kind, about = SpanKind.SERVER, self._attributes
            self._emit(Ended(name, place, parent, now, now, kind, link, about))
        self.step_in(None)
        return now

    def span(  # noqa: PLR0913 - what a span has
        self,
        name: str,
        parent: _Headers,
        *,
        kind: SpanKind = SpanKind.INTERNAL,
        link: _Headers | None = None,
        since_ns: int | None = None,
        until_ns: int | None = None,
        error: str = "",
        more: dict[str, Value] | None = None,
    ) -> _Headers:
        """Export a span that ends now; its carrier, or the parent's where none are made."""
        place = Place.of(parent)
        if not self._recorded or place is None:
            return parent
        self._counts[name] += 1
        made = Place(
            place.trace_id, derived(self._run_id, name, self._counts[name])[1], place.flags
        )
        until = until_ns or workflow.time_ns()
        if link is not None and self._same_trace(link, parent):
            link = None
        about = {**self._attributes, **(more or {})}
        self._emit(Ended(name, made, parent, since_ns or until, until, kind, link, about, error))
        return made.carrier(parent)

    @staticmethod
    def _same_trace(one: _Headers, other: _Headers) -> bool:
        here, there = Place.of(one), Place.of(other)
        return here is not None and there is not None and here.trace_id == there.trace_id

    def _emit(self, ended: Ended) -> None:
        if not workflow.unsafe.is_replaying():
            self._export(ended)

    def step_in(self, carrier: _Headers | None) -> None:
        """Make a carrier the current one of this task, and of those that it starts."""
        _here.set(carrier)
        enter(carrier or self.own)
        structlog.contextvars.bind_contextvars(**_words(self.about))

    def receive(self, name: str, theirs: _Headers) -> _Headers:
        """A signal or update has come: its span, in the trace of whoever sent it."""
        if Place.of(theirs) is None:
            theirs = {**self.own, **theirs}
        return self.span(name, theirs, kind=SpanKind.SERVER, link=self.own)

    def turn(self, carrier: _Headers) -> None:
        """What is being handled made the workflow go back."""
        self.turned = carrier
        self.span("going back", self.own, link=carrier)

    def note(self, report: CanaryReport) -> None:
        """The canary reports: what it was at until now is a span of its own."""
        before = self._phase
        if before is not None and before.same(report):
            return
        self._phase = _Phase(report, self.carrier())
        if before is None:
            return
        was = before.report
        self.span(
            f"canary {was.phase}",
            before.carrier,
            since_ns=_ns(was.at),
            until_ns=_ns(report.at),
            more={
                "aviary.weight": was.weight,
                "aviary.step": -1 if was.step is None else was.step,
                "aviary.waits_for": was.waits_for,
                "aviary.cause": was.cause.text if was.cause else "",
            },
        )


def _ns(at: datetime) -> int:
    return round(at.timestamp() * 1e6) * 1000


class _Inbound(WorkflowInboundInterceptor):
    def init(self, outbound: WorkflowOutboundInterceptor) -> None:
        super().init(_Outbound(outbound, self))

    @functools.cached_property
    def run(self) -> _Run:
        """The trace of this run; what it needs to know is not known before `init` is over."""
        return _Run()

    async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
        kind = workflow.info().workflow_type
        self.run.tell_of(input.args)
        since = self.run.begin(f"RunWorkflow:{kind}")
        name = f"CompleteWorkflow:{kind}"
        try:
            result = await super().execute_workflow(input)
        except FailureError as error:
            self.run.span(name, self.run.own, since_ns=since, error=str(error))
            raise
        state = str(getattr(result, "phase", "")) or "completed"
        self.run.span(name, self.run.own, since_ns=since, more={"aviary.state": state})
        return result

    async def handle_signal(self, input: HandleSignalInput) -> None:  # noqa: A002
        theirs = from_temporal(input.headers)
        name = f"HandleSignal:{input.signal}"
        quiet = input.signal in _QUIET
        carrier = theirs or self.run.own if quiet else self.run.receive(name, theirs)
        self.run.step_in(carrier)
        before = _goes_back()
        await super().handle_signal(input)
        if not before and _goes_back():
            self.run.turn(self.run.receive(name, theirs) if quiet else carrier)
        elif not before and input.signal == SIGNAL_ALERT:
            self.run.heard = carrier

    async def handle_update_handler(self, input: HandleUpdateInput) -> Any:  # noqa: A002
        name = f"HandleUpdate:{input.update}"
        carrier = self.run.receive(name, from_temporal(input.headers))
        self.run.step_in(carrier)
        before = _goes_back()
        result = await super().handle_update_handler(input)
        if not before and _goes_back():
            self.run.turn(carrier)
        return result


def _goes_back(*, alert: bool = False) -> bool:
    """Whether the workflow has a reason to go back; or an alert as its reason."""
    here = workflow.instance()
    return isinstance(here, MayGoBack) and (here.goes_back_for_alert if alert else here.goes_back)


class _Outbound(WorkflowOutboundInterceptor):
    def __init__(
        self,
        next: WorkflowOutboundInterceptor,  # noqa: A002 - the SDK's signature
        inbound: _Inbound,
    ) -> None:
        super().__init__(next)
        self._inbound = inbound

    @property
    def _run(self) -> _Run:
        return self._inbound.run

    def _sent(self, name: str) -> dict[str, Any]:
        return to_temporal(self._run.span(name, self._run.carrier(), kind=SpanKind.CLIENT))

    def start_activity(self, input: StartActivityInput) -> workflow.ActivityHandle[Any]:  # noqa: A002
        pending = getattr(input.args[0], "report", None) if input.args else None
        if isinstance(report := getattr(pending, "report", None), CanaryReport):
            self._run.note(report)
        sent = self._sent(f"StartActivity:{input.activity}")
        input.headers = {**input.headers, **sent}
        return super().start_activity(input)

    async def start_child_workflow(
        self,
        input: StartChildWorkflowInput,  # noqa: A002
    ) -> workflow.ChildWorkflowHandle[Any, Any]:
        sent = self._sent(f"StartChildWorkflow:{input.workflow}")
        input.headers = {**input.headers, **sent}
        return await super().start_child_workflow(input)

    async def signal_child_workflow(self, input: SignalChildWorkflowInput) -> None:  # noqa: A002
        sent = self._sent(f"SignalChildWorkflow:{input.signal}")
        input.headers = {**input.headers, **sent}
        await super().signal_child_workflow(input)

    async def signal_external_workflow(
        self,
        input: SignalExternalWorkflowInput,  # noqa: A002
    ) -> None:
        if input.args and isinstance(input.args[0], CanaryReport):
            self._run.note(input.args[0])
        if input.signal in _QUIET:
            sent = to_temporal(self._run.carrier())
        else:
            sent = self._sent(f"SignalExternalWorkflow:{input.signal}")
        input.headers = {**input.headers, **sent}
        await super().signal_external_workflow(input)

    def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:  # noqa: A002
        input.headers = {**input.headers, **to_temporal(self._run.own)}
        super().continue_as_new(input)
