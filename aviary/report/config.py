"""The configuration that a release was made with, as its plan recorded it. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from typing import Any

from aviary.report.html import Child, Markup, join, table, tag
from aviary.report.words import said
from schemas.base import format_duration
from schemas.judging import JudgeSpec, MetricSpec
from schemas.release import ServicePlan
from schemas.strategy import Bake, Strategy
from schemas.timeline import Timeline

_NAMED = 12
_PLAIN = {"threshold", "kayenta"}
"""Settings of methods, shown only where the method is used."""


def configuration(timeline: Timeline) -> Markup:
    """All of it: what several services share is shown once, with their names."""
    plans = list(timeline.plan.services.values())
    parts: list[Child] = [tag("p", _release(timeline))]
    for plan, names in shared(plans, lambda p: [p.strategy_name, _plain(p.strategy)]):
        parts.append(tag("h3", f"Strategy {plan.strategy_name}: {names}"))
        parts += [_strategy(plan.strategy)]
    for plan, names in shared(plans, lambda p: _plain(p.judge)):
        parts += [tag("h3", f"Judge: {names}"), _judge(plan.judge)]
    for plan, names in shared(plans, lambda p: [_plain(m) for m in p.metrics]):
        parts.append(tag("h3", f"Metrics: {names}"))
        parts.append(_metrics(plan.metrics) if plan.metrics else tag("p", "None: by time alone."))
    for plan, names in shared(plans, lambda p: [_plain(p.router), _plain(p.alerts)]):
        parts += [tag("h3", f"Router and alerts: {names}"), _outside(plan)]
    whole = json.dumps(timeline.plan.model_dump(mode="json"), indent=1, ensure_ascii=False)
    parts.append(
        tag("details", tag("summary", "The whole plan as JSON"), tag("pre", whole), class_="data")
    )
    return join(parts)


def shared(
    plans: Iterable[ServicePlan], of: Callable[[ServicePlan], Any]
) -> list[tuple[ServicePlan, str]]:
    """One plan for each value that plans have, and the names of those that have it."""
    found: dict[str, list[ServicePlan]] = {}
    for plan in plans:
        found.setdefault(json.dumps(of(plan), sort_keys=True), []).append(plan)
    return [(same[0], _names([one.service for one in same])) for same in found.values()]


def _names(names: list[str]) -> str:
    more = len(names) - _NAMED
    return ", ".join(names[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _plain(model: Any) -> Any:
    return model.model_dump(mode="json")


def _release(timeline: Timeline) -> str:
    plan = timeline.plan
    return (
        f"At most {plan.max_parallel} canaries at a time; soak {format_duration(plan.soak)}; "
        f"a busy service: {plan.admission.busy.value}; environment {plan.environment}. "
        "This is the plan as it was recorded when the release started."
    )


def _strategy(strategy: Strategy) -> Markup:
    end = f"An inconclusive bake: {said(strategy.on_inconclusive.value)}."
    if strategy.ramp is not None:
        return join([_facts(_plain(strategy.ramp)), tag("p", end)])
    rows = [
        [f"{i + 1}", step.text, _bake(step.bake), _gate(step.gate)]
        for i, step in enumerate(strategy.full_steps)
    ]
    return join([table("Steps", ["Step", "Weight", "Bake", "Gate"], rows), tag("p", end)])


def _bake(bake: Bake) -> str:
    shortest, longest = format_duration(bake.min), format_duration(bake.max)
    if longest == "0s":
        return "none"
    return longest if shortest == longest else f"{shortest} to {longest}"


def _gate(gate: Any) -> str:
    return "none" if gate is None else gate.text or "approval"


def _judge(judge: JudgeSpec) -> Markup:
    plain, default = _plain(judge), _plain(JudgeSpec())
    shown = {key: value for key, value in plain.items() if key not in _PLAIN}
    if judge.method.value in _PLAIN:
        part = plain[judge.method.value]
        shown |= {f"{judge.method.value}.{key}": value for key, value in part.items()}
    marks = {key for key, value in shown.items() if default.get(key) == value}
    return _facts(shown, marks)


def _facts(values: dict[str, Any], defaults: Iterable[str] = ()) -> Markup:
    rows: list[Child] = []
    for key, value in values.items():
        soft = tag("span", " (default)", class_="soft") if key in defaults else None
        rows += [tag("dt", said(key)), tag("dd", _value(value), soft)]
    return tag("dl", rows, class_="facts")


def _value(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(_value(one) for one in value) or "none"
    if isinstance(value, dict):
        return ", ".join(f"{key}: {_value(one)}" for key, one in value.items()) or "none"
    return "none" if value is None else str(value)


def _metrics(metrics: tuple[MetricSpec, ...]) -> Markup:
    return table("Metrics", ["Name", "Kind", "Settings", "Query"], [_metric(m) for m in metrics])


def _metric(metric: MetricSpec) -> list[Child]:
    plain = _plain(metric)
    left_out = {"name", "kind", "query", *metric.part_names}
    unset: tuple[Any, ...] = (None, [], False)
    settings = {k: v for k, v in plain.items() if k not in left_out and v not in unset}
    queries: list[Child] = [
        tag("div", tag("code", f"{part}: {text}")) for part, text in metric.templates.items()
    ]
    return [
        metric.name,
        metric.kind,
        _value(settings),
        queries or f"{metric.query} of the pack",
    ]


def _outside(plan: ServicePlan) -> Markup:
    return join([_facts(_plain(plan.router)), _facts(_plain(plan.alerts))])
