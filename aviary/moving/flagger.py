"""Canaries of Flagger."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from aviary.moving import routing
from aviary.moving.drafts import FULL, HookDraft, NoticeDraft, ServiceDraft, StepDraft, metric_name
from aviary.moving.flagger_metrics import FIELDS, Asked, MetricTemplates, read_metric
from aviary.moving.flagger_weights import read_weights
from aviary.moving.lengths import length
from aviary.moving.rows import Rows
from aviary.moving.source import Node, RefusedError, quoted

_INTERVAL: Final = timedelta(seconds=60)
_FLOOR: Final = timedelta(seconds=10)
_MOST_CHECKS: Final = 1000
_LONGEST: Final = timedelta(days=366)

SPEC: Final = {
    "autoscalerRef": "an autoscaler is the platform's; versions are workloads of their own",
    "progressDeadlineSeconds": "with a deployer: `deploy.progress_deadline`",
    "suspend": "a release happens when an event asks for it; `aviary release pause`",
    "revertOnDeletion": "set it for the cut-over: docs/how-to/moving-over.md",
    "metricsServer": "Aviary asks one Prometheus, that of AVIARY_PROMETHEUS_URL",
}
ANALYSIS: Final = {
    "primaryReadyThreshold": "a deployer waits for as many instances as a weight needs",
    "canaryReadyThreshold": "a deployer waits for as many instances as a weight needs",
    "mirror": "write it as a step by hand: {mirror: 25}",
    "mirrorWeight": "write it as a step by hand: {mirror: 25}",
    "sessionAffinity": "some router kinds keep users on a version: `aviary routers` says which",
    "stepWeightPromotion": "not needed: the canary itself becomes stable, and no user is moved "
    "back",
}
_MOMENTS: Final = {
    "confirm-rollout": "before_canary",
    "pre-rollout": "before_canary",
    "rollout": "during_bake",
    "confirm-traffic-increase": "before_step",
    "confirm-promotion": "before_finalize",
    "post-rollout": ["after_finalized", "after_rolled_back"],
}
_ASKED: Final = ("url", "timeout", "retries", "metadata", "disableTLS", "muteAlert")
"""What a webhook says beside its name and type."""
_HOOK: Final = (
    "a hook could ask it (in a comment of the catalog): its receiver is sent a CloudEvent of "
    "Aviary's, "
    "and its address is a connection of the settings (docs/how-to/hooks.md)"
)
_SEVERITIES: Final = {"info": "info", "warn": "warning", "error": "failure"}


@dataclass(frozen=True)
class _Ticks:
    """How often Flagger looks, and how many failed checks go back."""

    interval: timedelta
    checks: int

    @property
    def longest(self) -> timedelta:
        """How long a weight is held at the most: each failed check holds it for one more tick."""
        return min(self.interval * (self.checks + 1), _LONGEST)


def read_canary(manifest: Node, name: str, templates: MetricTemplates, rows: Rows) -> ServiceDraft:
    """A Canary as a service.

    Raises:
        RefusedError: it can't be one.
    """
    spec = manifest.need("spec")
    target = spec.need("targetRef")
    rows.none(
        target.take().place,
        "versions are workloads of their own here, and none is rewritten in place; "
        f"{quoted(f'{name}-primary')} serves until the first release has another version",
    )
    namespace = manifest.find("metadata", "namespace")
    inside = None if namespace is None else namespace.text()
    own_name = manifest.need("metadata").need("name").text()
    draft = ServiceDraft(name, manifest.place, f"Canary {own_name}")
    service = spec.get("service")
    apex = None if service is None else service.get("name")
    own = name if apex is None else apex.text()
    if service is not None:
        rows.none(
            service,
            "Flagger made Services and routes of this, and removes them with the Canary unless "
            "revertOnDeletion is set: keep those that it made, or write your own",
        )
    draft.routers = routing.of_flagger(spec, own, inside, rows)
    rows.tell(spec, SPEC)
    analysis = spec.get("analysis") or spec.get("canaryAnalysis")
    skip = spec.get("skipAnalysis")
    if analysis is None or (skip is not None and skip.flag()):
        rows.same(skip or spec, "no analysis: 100 % at once, judged by nothing (metrics: [])")
        draft.steps = [StepDraft(FULL)]
        if analysis is not None:
            rows.none(analysis, "skipAnalysis is set, so that Flagger does not look at it either")
        return draft
    provider = spec.get("provider")
    variables = {"name": own_name, "target": name, "service": own, "namespace": inside or ""}
    ref = spec.find("ingressRef", "name") or spec.find("routeRef", "name")
    if ref is not None:
        variables |= {"ingress": ref.text(), "route": ref.text()}
    source = Asked(templates, variables, "" if provider is None else provider.text())
    _analysis(analysis, draft, source, rows)
    return draft


def _analysis(analysis: Node, draft: ServiceDraft, asked: Asked, rows: Rows) -> None:
    rows.tell(analysis, ANALYSIS)
    ticks = _ticks(analysis, rows)
    draft.steps = read_weights(analysis, rows)
    for step in draft.steps:
        step.hold(ticks.interval, ticks.longest)
    metrics = analysis.get("metrics")
    for node in [] if metrics is None else metrics.items():
        try:
            for metric in read_metric(node, asked, ticks.checks, rows):
                draft.add_metric(metric)
                draft.pack = asked.pack if "query" in metric.spec else draft.pack
        except RefusedError as error:
            node.know(name for name in FIELDS if not node.is_asked(name))
            rows.refused(error)
    draft.analysed = metrics is not None
    if metrics is None:
        rows.same(analysis, "no metrics: bakes pass by time alone (metrics: [])")
    if draft.metrics:
        draft.interval = ticks.interval
    _webhooks(analysis, draft, rows)
    _alerts(analysis, draft, rows)


def _ticks(analysis: Node, rows: Rows) -> _Ticks:
    interval, node = _INTERVAL, analysis.get("interval")
    if node is not None:
        interval = max(length(node), _FLOOR)
        rows.differs(
            node,
            "each weight is held for one interval there, and one more for each failed check; here "
            "between one interval and as many as `threshold` allows (bake), and the judge reads "
            "once an "
            "interval (judge.interval)",
        )
    checks, limit = 1, analysis.get("threshold")
    if limit is not None:
        checks = int(min(max(limit.number(), 1), _MOST_CHECKS))
        rows.differs(
            limit,
            f"{checks} failed checks of all metrics and hooks together go back there; here "
            f"{checks} in a "
            "row of one metric (checks), so that scattered ones don't add up: checks: 1 is strict",
        )
    return _Ticks(interval, checks)


def _webhooks(analysis: Node, draft: ServiceDraft, rows: Rows) -> None:
    webhooks = analysis.get("webhooks")
    for node in [] if webhooks is None else webhooks.items():
        name = node.need("name").text()
        kind = node.get("type")
        when = "rollout" if kind is None else kind.text()
        if when in _MOMENTS:
            _webhook(node, name, when, draft, rows)
        elif when == "rollback":
            rows.none(node, "who wants to go back says so: `aviary release rollback`, or an alert")
        elif when == "event":
            rows.none(node, "every change is an event on aviary.events (docs/reference/events.md)")
        else:
            node.take()
            rows.refused(RefusedError(node.place, f"{quoted(when)} is no known type of a webhook"))


def _webhook(node: Node, name: str, when: str, draft: ServiceDraft, rows: Rows) -> None:
    label = metric_name(name)
    spec = {"name": label, "when": _MOMENTS[when], "call": {"kind": "http", "connection": label}}
    draft.hooks.append(HookDraft(spec, node.place))
    below = [step for step in draft.steps if step.weight < FULL]
    gated = {"confirm-traffic-increase": below, "confirm-promotion": below[-1:]}
    if gated.get(when):
        for step in gated[when]:
            step.gate = True
        node.know(_ASKED)
        rows.differs(node, f"a person is asked here (gate), where there a URL is; or {_HOOK}")
    else:
        rows.none(node, f"called at {when} there; {_HOOK}")


def _alerts(analysis: Node, draft: ServiceDraft, rows: Rows) -> None:
    alerts = analysis.get("alerts")
    for node in [] if alerts is None else alerts.items():
        severity = node.get("severity")
        least = "info" if severity is None else severity.text()
        provider = node.find("providerRef", "name")
        for field in (node.find("providerRef", "namespace"), node.get("name")):
            if field is not None:
                field.take()
        if provider is None or least not in _SEVERITIES:
            rows.refused(RefusedError(node.place, "an alert without providerRef or known severity"))
            continue
        channel = metric_name(provider.text())
        draft.notices.append(NoticeDraft(channel, _SEVERITIES[least], node.place))
        rows.differs(
            node,
            f"a rule of `notices` for the channel {quoted(channel)}, which has to be in the "
            "settings "
            "(docs/how-to/notices.md); a channel that no rule names is told nothing any more",
        )
