"""Metrics of Canaries: the built-in two by a metric pack, others as threshold metrics."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from aviary.moving.argo_templates import fits
from aviary.moving.drafts import MetricDraft, metric_name, plain
from aviary.moving.queries import fill, promql
from aviary.moving.rows import Rows
from aviary.moving.source import Node, RefusedError, quoted
from schemas.catalog_check import Path

_SUCCESS: Final = "request-success-rate"
_DURATION: Final = "request-duration"
PACKS: Final = {
    "istio": "istio",
    "linkerd": "linkerd",
    "nginx": "nginx-ingress",
    "traefik": "traefik",
}
"""Provider, and the pack that has its metrics."""
_MEANS: Final = frozenset({"nginx", "skipper"})
"""Providers whose request-duration is a mean."""
FIELDS: Final = (
    *("name", "interval", "thresholdRange", "threshold"),
    *("templateRef", "templateVariables", "query"),
)
"""Of a metric."""
_NO_PACK: Final = (
    "no metric pack has the metrics of this provider: write a metric with PromQL of your own "
    "(docs/judging.md), or take the pack otel-http where the service has OpenTelemetry's"
)
_PERCENT: Final = 100.0


@dataclass
class MetricTemplates:
    """Templates of the input, by name."""

    known: dict[str, list[Node]] = field(default_factory=dict)
    used: set[tuple[int, Path]] = field(default_factory=set)

    def find(self, ref: Node, namespace: str) -> Node:
        """What a reference names.

        Raises:
            RefusedError: it is not in the input, or more than one is.
        """
        name, given = ref.need("name").text(), ref.get("namespace")
        inside = (namespace or None) if given is None else given.text()
        found = [one for one in self.known.get(name, []) if fits(one, inside)]
        if len(found) != 1:
            many = "more than one of them is" if found else "it is not"
            text = (
                f"MetricTemplate {quoted(name)}: {many} among the files: give it to the import too"
            )
            raise RefusedError(ref.place, text)
        self.used.add(found[0].key)
        return found[0]


@dataclass(frozen=True)
class _Range:
    """The least and the most that is good, both included."""

    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Asked:
    """What the metrics of a Canary are asked by."""

    templates: MetricTemplates
    variables: Mapping[str, str]
    """Of its queries, by name."""
    given_provider: str = ""

    @property
    def provider(self) -> str:
        """The provider without a version of its API."""
        return self.given_provider.partition(":")[0]

    @property
    def pack(self) -> str | None:
        """The metric pack of the built-in metrics."""
        return PACKS.get(self.provider)


def read_metric(node: Node, asked: Asked, checks: int, rows: Rows) -> list[MetricDraft]:
    """One metric of an analysis.

    Raises:
        RefusedError: it is not understood, or fits no metric.
    """
    name = node.need("name").text()
    limits = _range(node, name)
    window = node.get("interval")
    interval = "1m" if window is None else window.text()
    ref, own = node.get("templateRef"), node.get("query")
    if ref is None and own is None:
        if window is not None:
            rows.differs(window, "the judge counts requests itself, over the whole bake")
        return _built_in(node, name, asked, limits, rows)
    if window is not None:
        rows.same(window, "the window in the query, where that names it")
    given = node.get("templateVariables")
    more = {} if given is None else {one.name: one.text() for one in given.each()}
    query = own
    if ref is not None:
        query = _query(asked.templates.find(ref, asked.variables["namespace"]), rows)
    if query is None:
        return []
    if limits == _Range():
        rows.none(node, "no thresholdRange: every value is good, and no limit could stand for it")
        return []
    known = {**asked.variables, "interval": interval}
    text = fill(query, known | {f"variables.{key}": value for key, value in more.items()})
    _names(query, text, asked.variables, rows)
    found = _limits(node, name, promql(query, text), limits, checks)
    _told(node, rows)
    return found


def _range(node: Node, name: str) -> _Range:
    limits, old = node.get("thresholdRange"), node.get("threshold")
    if limits is not None:
        low, high = limits.get("min"), limits.get("max")
        return _Range(
            None if low is None else low.number(),
            None if high is None else high.number(),
        )
    if old is None:
        return _Range()
    return _Range(low=old.number()) if name == _SUCCESS else _Range(high=old.number())


def _built_in(node: Node, name: str, asked: Asked, limits: _Range, rows: Rows) -> list[MetricDraft]:
    if name not in {_SUCCESS, _DURATION}:
        raise RefusedError(
            node.place,
            f"{quoted(name)} is no metric that Flagger has, and it has neither templateRef nor "
            "query",
        )
    if asked.pack is None:
        rows.none(node, _NO_PACK)
        return []
    if name == _SUCCESS:
        return [_success(node, limits.low, rows)] if _some(node, limits.low, "min", rows) else []
    if not _some(node, limits.high, "max", rows):
        return []
    if asked.provider in _MEANS:
        rows.none(
            node,
            f"the mean of all requests there, at most {limits.high:g} ms; a pack counts requests "
            "slower "
            "than an "
            "edge, which says something else: choose an edge and a share, as {kind: histogram, "
            "name: "
            "latency, edges: [0.5], slo: 0.01}",
        )
        return []
    return [_duration(node, limits.high or 0.0, rows)]


def _some(node: Node, limit: float | None, name: str, rows: Rows) -> bool:
    if limit is None:
        rows.none(node, f"no {name}: no limit could stand for it")
    return limit is not None


def _success(node: Node, low: float | None, rows: Rows) -> MetricDraft:
    share = round(1 - (low or 0.0) / _PERCENT, 8)
    if not 0 < share < 1:
        raise RefusedError(
            node.place, f"at least {low:g} % of requests: a limit here is between 0 and 100 %"
        )
    rows.differs(
        node,
        f"at least {low:g} % without class 5 in a window, there; here at most {share:g} of all "
        "requests "
        "of class 5 (slo), by a test that needs enough requests to be sure",
    )
    spec = {"kind": "ratio", "name": _SUCCESS, "query": "errors", "slo": share}
    return MetricDraft(spec, node.place)


def _duration(node: Node, high: float, rows: Rows) -> MetricDraft:
    if high <= 0:
        raise RefusedError(node.place, f"at most {high:g} ms: more than 0 expected")
    rows.differs(
        node,
        f"P99 of at most {high:g} ms, estimated within buckets, there; here at most 1 % of "
        "requests "
        f"slower than {high / 1000:g} s (edges, slo), which has to be the edge of a bucket",
    )
    spec: dict[str, Any] = {"kind": "histogram", "name": _DURATION, "query": "latency"}
    spec |= {"edges": [plain(high / 1000)], "slo": 0.01}
    return MetricDraft(spec, node.place)


def _query(template: Node, rows: Rows) -> Node | None:
    """The query of a template; None where it is not for Prometheus."""
    spec = template.need("spec")
    provider = spec.need("provider")
    kind = provider.need("type").text()
    query = spec.need("query")
    for name in ("secretRef", "headers", "insecureSkipVerify", "region"):
        if (one := provider.get(name)) is not None:
            rows.none(
                one, "what reaches the source stands in the settings: AVIARY_METRICS_CONNECTION"
            )
    if (address := provider.get("address")) is not None:
        rows.differs(
            address, "Aviary asks one Prometheus, that of AVIARY_PROMETHEUS_URL: is it this one?"
        )
    if kind == "prometheus":
        return query
    rows.none(
        provider,
        f"{quoted(kind)}: Aviary asks Prometheus, and other stores by a metrics source of their "
        "own "
        "(docs/contributing.md)",
    )
    return None


def _names(query: Node, text: str, variables: Mapping[str, str], rows: Rows) -> None:
    target = variables["target"]
    if target in text:
        rows.differs(
            query,
            f"it names {quoted(target)}, the workload that is rewritten for each version there; "
            "here a "
            "version is a workload of its own: put {{version}} where your series say it",
        )
    else:
        rows.same(query, "the query, with its variables filled in")


def _limits(node: Node, name: str, value: str, limits: _Range, checks: int) -> list[MetricDraft]:
    found, base = [], metric_name(name)
    both = limits.low is not None and limits.high is not None
    for limit, name_end in ((limits.low, "-min"), (limits.high, "-max")):
        if limit is None:
            continue
        end = name_end if both else ""
        spec: dict[str, Any] = {"kind": "threshold", "name": f"{base[: 63 - len(end)]}{end}"}
        spec |= {"value": value, "limit": plain(limit)}
        if name_end == "-min":
            spec["direction"] = "lower_is_bad"
        if checks > 1:
            spec["checks"] = checks
        found.append(MetricDraft(spec, node.place))
    return found


def _told(node: Node, rows: Rows) -> None:
    limits = node.get("thresholdRange") or node.get("threshold") or node
    rows.same(limits, "a limit; the number itself is good")
    rows.differs(
        node,
        "no value, or NaN, is a failed check there; here it is no evidence, and a bake without any "
        "asks a person",
    )
