"""Rollouts of Argo."""

from __future__ import annotations

from typing import Final

from aviary.moving import argo_steps, routing
from aviary.moving.argo_templates import Analysis, Templates, read_analysis, skip_templates
from aviary.moving.drafts import FULL, ServiceDraft, StepDraft
from aviary.moving.rows import Rows
from aviary.moving.source import Node, RefusedError, quoted

_WORKLOAD: Final = (
    "putting versions up is the pipeline's, or a deployer's (`deploy`; for Kubernetes "
    "docs/how-to/kubernetes.md): each version is a workload of its own, and none is rewritten"
)
SPEC: Final = {
    "replicas": "how many instances a version has is the pipeline's, or `deploy.instances` and "
    "`deploy.scale`",
    "selector": _WORKLOAD,
    "template": _WORKLOAD,
    "workloadRef": f"{_WORKLOAD}; the Deployment goes on serving what it serves at the cut-over",
    "minReadySeconds": "a deployer asks its own readiness: `deploy.ready`, where its kind has it",
    "revisionHistoryLimit": "versions are kept for `deploy.keep_old` after finalize",
    "progressDeadlineSeconds": "with a deployer: `deploy.progress_deadline`, after which the "
    "canary "
    "goes back",
    "progressDeadlineAbort": "with a deployer, a canary that is not ready in time always goes back",
    "paused": "pause a release: `aviary release pause`",
    "restartAt": "restarting instances is the platform's",
    "rollbackWindow": "going back is a release of the older version; within `deploy.keep_old` its "
    "instances are still up",
    "analysis": "evidence is kept in the release's history: `aviary release explain`",
}
CANARY: Final = {
    "maxSurge": _WORKLOAD,
    "maxUnavailable": _WORKLOAD,
    "antiAffinity": _WORKLOAD,
    "canaryMetadata": "labels are those of a version, whether it is canary or stable",
    "stableMetadata": "labels are those of a version, whether it is canary or stable",
    "minPodsPerReplicaSet": "`deploy.instances`, with a deployer",
    "replicaProgressThreshold": "a deployer waits for as many instances as a weight needs",
    "dynamicStableScale": "`shrink_stable: true` of the strategy, with a deployer",
    "scaleDownDelaySeconds": "how long the version before stays up after finalize: "
    "`deploy.keep_old`",
    "scaleDownDelayRevisionLimit": "`deploy.keep_old` is a time, for every version",
    "abortScaleDownDelaySeconds": "how long a failed canary stays up: `deploy.keep_failed`",
    "pingPong": "not needed: routes name versions, and none is renamed as it becomes stable",
    "canaryService": "not needed: each version has a Service of its own, and Argo's selectors on "
    "this "
    "one are no longer kept up after the cut-over",
    "stableService": "callers go on using it where the route names it: after the cut-over its "
    "selector "
    "(rollouts-pod-template-hash) has to go",
}
BLUE_GREEN: Final = CANARY | {
    "activeService": "callers use the route of the service; this Service's selector is no longer "
    "kept "
    "up after the cut-over",
    "previewService": "a version can be asked for by header or cookie, where the router can "
    "(docs/how-to/routers.md)",
    "previewReplicaCount": "`deploy.scale`, with a deployer",
    "previewMetadata": "labels are those of a version",
    "activeMetadata": "labels are those of a version",
    "prePromotionAnalysis": "nothing is judged before a version has requests: a hook at "
    "before_canary "
    "can test it (docs/how-to/hooks.md), or take smaller steps than 100 %",
    "autoPromotionSeconds": "no time passes between a version that is up and its first requests",
}
_TRIGGERS: Final = {
    "on-rollout-updated": "started",
    "on-rollout-completed": "finished",
    "on-rollout-paused": "waiting",
    "on-rollout-aborted": "rolled_back",
    "on-analysis-run-failed": "rolling_back",
    "on-analysis-run-error": "rolling_back",
}
_SUBSCRIBE: Final = "notifications.argoproj.io/subscribe."


def read_rollout(manifest: Node, name: str, templates: Templates, rows: Rows) -> ServiceDraft:
    """A Rollout as a service.

    Raises:
        RefusedError: it can't be one.
    """
    draft = ServiceDraft(name, manifest.place, f"Rollout {name}")
    spec = manifest.need("spec")
    _subscriptions(manifest, rows)
    rows.tell(spec, SPEC)
    strategy = spec.need("strategy")
    canary, switch = strategy.get("canary"), strategy.get("blueGreen")
    if canary is not None and switch is None:
        _canary(canary, manifest, draft, templates, rows)
    elif switch is not None and canary is None:
        _blue_green(switch, manifest, draft, templates, rows)
    else:
        raise RefusedError(strategy.place, "expected either canary or blueGreen")
    return draft


def _canary(
    canary: Node, manifest: Node, draft: ServiceDraft, templates: Templates, rows: Rows
) -> None:
    namespace = manifest.find("metadata", "namespace")
    inside = None if namespace is None else namespace.text()
    draft.routers = routing.of_argo(canary, inside, rows)
    rows.tell(canary, CANARY)
    background = canary.get("analysis")
    steps = canary.get("steps")
    if background is not None:
        analysis = read_analysis(background, manifest, templates, rows)
        _take_metrics(analysis, draft)
        rows.same(background, "judged at every weight")
        if (start := background.get("startingStep")) is not None:
            rows.differs(start, "metrics are judged from the first weight on: stricter")
    if steps is None or not steps.items():
        rows.differs(steps or canary, "no steps: 100 % at once, in one write of the route")
        draft.steps = [StepDraft(FULL)]
        return
    most = _most(canary, rows)

    def judge(node: Node) -> Analysis:
        analysis = read_analysis(node, manifest, templates, rows)
        _take_metrics(analysis, draft)
        return analysis

    draft.steps = argo_steps.read_steps(steps, most, judge, rows)
    if not draft.analysed:
        rows.same(steps, "no analysis: bakes pass by time alone (metrics: [])")


def _most(canary: Node, rows: Rows) -> float:
    """The weight that is all requests."""
    node = canary.find("trafficRouting", "maxTrafficWeight")
    if (managed := canary.find("trafficRouting", "managedRoutes")) is not None:
        rows.none(managed, "no step for some users alone, so that no route has to be kept for one")
    if node is None:
        return FULL
    most = node.number()
    if not 1 <= most <= 1_000_000:  # noqa: PLR2004 - a weight
        raise node.refuse("a weight from 1 to 1,000,000")
    return most


def _take_metrics(analysis: Analysis, draft: ServiceDraft) -> None:
    draft.analysed = True
    for metric in analysis.metrics:
        draft.add_metric(metric)


def _blue_green(
    switch: Node, manifest: Node, draft: ServiceDraft, templates: Templates, rows: Rows
) -> None:
    rows.differs(
        switch,
        "all requests at once: one step of 100 %. Smaller steps cost fewer users a bad version",
    )
    rows.none(
        switch.place,
        "a blue-green Rollout has no traffic routing: its Service's selector is switched; here a "
        "router "
        "carries the service",
    )
    step = StepDraft(FULL)
    promotion = switch.get("autoPromotionEnabled")
    if promotion is not None and not promotion.flag():
        rows.none(
            promotion,
            "a person is asked before the switch there; a gate here comes after the bake of a "
            "weight: "
            "ask in the pipeline before the event, or by a hook at before_canary with on_no: gate",
        )
    elif promotion is not None:
        rows.same(promotion, "nobody is asked")
    if (post := switch.get("postPromotionAnalysis")) is not None:
        analysis = read_analysis(post, manifest, templates, rows)
        _take_metrics(analysis, draft)
        argo_steps.add_run(step, analysis, post)
        rows.differs(post, "judged while the version has 100 %, then as long as it holds")
    if (before := switch.get("prePromotionAnalysis")) is not None:
        skip_templates(before, manifest, templates, rows)
    rows.tell(switch, BLUE_GREEN)
    draft.steps = [step]


def _subscriptions(manifest: Node, rows: Rows) -> None:
    annotations = manifest.find("metadata", "annotations")
    for node in [] if annotations is None else annotations.each():
        if not node.name.startswith(_SUBSCRIBE):
            continue
        trigger = node.name.removeprefix(_SUBSCRIBE).partition(".")[0]
        kind = _TRIGGERS.get(trigger)
        where = quoted(str(node.data))
        text = (
            f"{where}: make it a channel of the settings, and a rule of `notices`: "
            f"{{channel: …, kinds: [{kind}]}}"
            if kind
            else f"{where}: no notice of that; every change is an event on aviary.events"
        )
        rows.none(node, text)
