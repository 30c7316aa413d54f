"""Argo's AnalysisTemplates, found by name, with their arguments filled in."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aviary.moving.argo_metrics import FIELDS, Run, read_metric
from aviary.moving.drafts import MetricDraft
from aviary.moving.queries import Value
from aviary.moving.rows import Rows
from aviary.moving.source import Node, RefusedError, quoted
from schemas.catalog_check import Path

_HASH: Final = (
    "the hash of a Pod template, for which Aviary has no variable: write the query with "
    "{{version}} or "
    "{{pool}}, by a label that says the version"
)
_FIELD: Final = re.compile(r"([A-Za-z0-9_-]+)(?:\['([^']+)'\])?")
_MOST_TEMPLATES: Final = 100
_MOST_METRICS: Final = 200
"""Of one analysis."""
_MOST_READ: Final = 50_000


@dataclass
class Templates:
    """Templates of the input, by scope and name."""

    local: dict[str, list[Node]] = field(default_factory=dict)
    cluster: dict[str, list[Node]] = field(default_factory=dict)
    used: set[tuple[int, Path]] = field(default_factory=set)
    left: int = _MOST_READ
    """How many metrics may still be read, each as often as it is used."""

    def add(self, name: str, node: Node, *, cluster: bool) -> None:
        """Know a template."""
        (self.cluster if cluster else self.local).setdefault(name, []).append(node)

    def find(self, ref: Node, namespace: str | None) -> Node:
        """What a reference names.

        Raises:
            RefusedError: it is not in the input, or more than one is.
        """
        name = ref.need("templateName").text()
        scope = ref.get("clusterScope")
        cluster = scope is not None and scope.flag()
        found = (self.cluster if cluster else self.local).get(name, [])
        found = [one for one in found if cluster or fits(one, namespace)]
        kind = "ClusterAnalysisTemplate" if cluster else "AnalysisTemplate"
        if len(found) != 1:
            many = "more than one of them is" if found else "it is not"
            text = f"{kind} {quoted(name)}: {many} among the files: give it to the import as well"
            raise RefusedError(ref.place, text)
        self.used.add(found[0].key)
        return found[0]


def fits(manifest: Node, namespace: str | None) -> bool:
    """Whether a manifest may be in a namespace: where neither says which, it is the same."""
    given = manifest.find("metadata", "namespace")
    return given is None or namespace is None or given.data == namespace


@dataclass
class Analysis:
    """What the templates of one analysis became."""

    metrics: list[MetricDraft] = field(default_factory=list)
    runs: list[Run | None] = field(default_factory=list)


def read_analysis(analysis: Node, rollout: Node, templates: Templates, rows: Rows) -> Analysis:
    """All metrics of an analysis; what of it is not understood is told, and left out."""
    namespace = rollout.find("metadata", "namespace")
    inside = None if namespace is None else namespace.text()
    given = _values(analysis.get("args"), rollout)
    found, waiting = Analysis(), _references(analysis)
    if (single := analysis.get("templateName")) is not None:
        waiting.insert(0, analysis)
        single.take()
    seen: set[tuple[int, Path]] = set()
    while waiting:
        ref = waiting.pop(0)
        try:
            template = templates.find(ref, inside)
        except RefusedError as error:
            rows.refused(error)
            continue
        if template.key in seen or len(seen) >= _MOST_TEMPLATES:
            continue
        seen.add(template.key)
        metrics = template.find("spec", "metrics")
        count = 0 if metrics is None else len(metrics.items())
        templates.left -= count
        if count + len(found.runs) > _MOST_METRICS or templates.left < 0:
            text = f"more than {_MOST_METRICS} metrics, or {_MOST_READ:,} in all"
            raise RefusedError(analysis.place, text)
        waiting += _template(template, given, rollout, rows, found)
    _services_named(found, rollout, rows)
    _dry_run(analysis, found, rows)
    for name in ("measurementRetention", "analysisRunMetadata"):
        if (one := analysis.get(name)) is not None:
            rows.none(one, "evidence is kept in the release's history: `aviary release explain`")
    return found


def skip_templates(analysis: Node, rollout: Node, templates: Templates, rows: Rows) -> None:
    """The templates of an analysis that nothing stands for are known all the same."""
    namespace = rollout.find("metadata", "namespace")
    inside = None if namespace is None else namespace.text()
    for ref in _references(analysis):
        try:
            rows.none(templates.find(ref, inside), "nothing judges a version without requests")
        except RefusedError as error:
            rows.refused(error)


def _references(node: Node) -> list[Node]:
    templates = node.get("templates")
    return [] if templates is None else templates.items()


def _template(
    template: Node, given: Mapping[str, Value], rollout: Node, rows: Rows, found: Analysis
) -> list[Node]:
    """Read one template into `found`; returns those that it names itself."""
    spec = template.need("spec")
    args = {**_values(spec.get("args"), rollout), **given}
    metrics = spec.get("metrics")
    before = len(found.metrics)
    for node in [] if metrics is None else metrics.items():
        try:
            measured = read_metric(node, args, rows)
        except RefusedError as error:
            node.know(FIELDS)
            rows.refused(error)
            continue
        found.metrics += measured.drafts
        found.runs.append(measured.run)
    _dry_run(spec, found, rows, before)
    if (kept := spec.get("measurementRetention")) is not None:
        rows.none(kept, "evidence is kept in the release's history: `aviary release explain`")
    return _references(spec)


def _services_named(found: Analysis, rollout: Node, rows: Rows) -> None:
    """Tell of queries for the Services whose selectors Argo keeps up."""
    for name in ("canaryService", "stableService"):
        service = rollout.find("spec", "strategy", "canary", name)
        for metric in [] if service is None else found.metrics:
            if service is not None and service.text() in str(metric.spec["value"]):
                rows.differs(
                    metric.place,
                    f"it asks for {quoted(service.text())}, the {name}, whose selector Argo "
                    "moves from "
                    "version to version; here a version has a Service of its own: put {{version}} "
                    "where your series say it",
                )


def _values(args: Node | None, rollout: Node) -> dict[str, Value]:
    """What arguments stand for; one that can't be known says why where it is used."""
    found: dict[str, Value] = {}
    for node in [] if args is None else args.items():
        name = node.need("name").text()
        value, source = node.get("value"), node.get("valueFrom")
        if value is not None:
            found[name] = value.text()
        elif source is not None:
            found[name] = _from(source, rollout)
    return found


def _from(source: Node, rollout: Node) -> Value:
    if source.get("podTemplateHashValue") is not None:
        return RefusedError(source.place, _HASH)
    if (secret := source.get("secretKeyRef")) is not None:
        secret.take()
        return RefusedError(source.place, "a secret, which no catalog holds")
    path = source.find("fieldRef", "fieldPath")
    if path is None:
        return RefusedError(source.place, "a source that is not known")
    found: Any = rollout.data
    for part in path.text().split(".", 1) if "['" in path.text() else path.text().split("."):
        match = _FIELD.fullmatch(part)
        keys = () if match is None else [key for key in match.groups() if key is not None]
        for key in keys or [part]:
            found = found.get(key) if isinstance(found, dict) else None
    if isinstance(found, bool) or not isinstance(found, str | int | float):
        return RefusedError(path.place, f"the Rollout has no text at {quoted(path.text())}")
    return str(found)


def _dry_run(node: Node, found: Analysis, rows: Rows, start: int = 0) -> None:
    """Mark the metrics that are only shown."""
    rules = node.get("dryRun")
    for rule in [] if rules is None else rules.items():
        name = rule.need("metricName")
        pattern = name.text()
        if not _is_simple(pattern):
            rows.refused(
                RefusedError(
                    name.place,
                    f"{quoted(pattern)} is neither a name nor `.*`: say dry_run: true at the "
                    "metrics "
                    "that it means",
                )
            )
            continue
        for metric in found.metrics[start:]:
            own = str(metric.spec["name"])
            if pattern == ".*" or own.removesuffix("-min").removesuffix("-max") == pattern:
                metric.spec["dry_run"] = True
        rows.same(name, "dry_run: judged and shown, not acted upon")


def _is_simple(pattern: str) -> bool:
    return pattern == ".*" or re.fullmatch(r"[a-z][a-z0-9_-]*", pattern, re.ASCII) is not None
