"""Manifests in, a catalog and the table out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from aviary.moving.argo import read_rollout
from aviary.moving.argo_templates import Templates
from aviary.moving.drafts import RouterDraft, ServiceDraft
from aviary.moving.flagger import read_canary
from aviary.moving.flagger_metrics import MetricTemplates
from aviary.moving.rows import Became, Report, Rows
from aviary.moving.source import Node, Place, RefusedError, Source, quoted
from aviary.moving.writing import Draft, RouterChoice, write
from schemas.base import ServiceName
from schemas.catalog_check import UNREAD
from schemas.document import read_all_yaml
from schemas.problems import show_path, show_value

_SERVICE: Final[TypeAdapter[str]] = TypeAdapter(ServiceName)
_MOST_NESTED: Final = 5
"""Lists of manifests within each other."""
_HELM: Final = "; a chart is no manifest: give `helm template` to the import"


class Tool(StrEnum):
    """Whose manifests are read."""

    ARGO_ROLLOUTS = "argo-rollouts"
    FLAGGER = "flagger"


_GROUPS: Final = {"argoproj.io": Tool.ARGO_ROLLOUTS, "flagger.app": Tool.FLAGGER}
_KINDS: Final = {
    Tool.ARGO_ROLLOUTS: {"Rollout", "AnalysisTemplate", "ClusterAnalysisTemplate"},
    Tool.FLAGGER: {"Canary", "MetricTemplate", "AlertProvider"},
}
ChooseRouter = Callable[[Sequence[RouterDraft]], RouterChoice]
"""Says whether the routers that a manifest names can be used here."""


@dataclass
class Imported:
    """What became of the manifests."""

    report: Report
    services: list[ServiceDraft] = field(default_factory=list)
    catalog: str = ""
    """Empty where there is no service."""


@dataclass
class _Manifests:
    """The manifests that mean something here."""

    services: list[tuple[Tool, Node]] = field(default_factory=list)
    argo: Templates = field(default_factory=Templates)
    flagger: MetricTemplates = field(default_factory=MetricTemplates)
    templates: list[Node] = field(default_factory=list)
    others: dict[tuple[str, str], list[Place]] = field(default_factory=dict)
    """Of other kinds, by file and kind."""


def import_manifests(
    texts: Mapping[str, str],
    choose: ChooseRouter,
    tool: Tool | None = None,
    default_router: Any = None,
) -> Imported:
    """Read manifests, and write the catalog that stands for them.

    Args:
        texts: YAML of any number of documents, by the name of its file.
        choose: says which router stands for one that a manifest names.
        tool: only the manifests of this tool; None: of both.
        default_router: of services whose manifest names none that can be used.
    """
    report = Report()
    found = _Manifests()
    for file, text in texts.items():
        _read(file, text, found, report, tool)
    imported = Imported(report)
    known: dict[str, Place] = {}
    for kind, manifest in found.services:
        draft = _service(kind, manifest, found, known, report)
        if draft is not None:
            imported.services.append(draft)
    _leftovers(found, report)
    if imported.services:
        routers = {one.name: choose(one.routers) for one in imported.services if one.routers}
        draft_catalog = Draft(imported.services, routers, default_router, report.rows)
        imported.catalog = write(draft_catalog)
    return imported


def _read(file: str, text: str, found: _Manifests, report: Report, tool: Tool | None) -> None:
    for document in read_all_yaml(text):
        for one in document.complaints:
            value = "" if one.value is UNREAD else f"got {show_value(one.value)}, "
            hint = _HELM if "{{" in text else ""
            place = Place(file, one.line, show_path(one.path))
            report.add(Became.REFUSED, place, f"{value}expected {one.expected}{hint}")
        if document.data is not None and not document.complaints:
            source = Source(file, document)
            _sort(Node(source, (), document.data), found, report, tool)


def _sort(top: Node, found: _Manifests, report: Report, tool: Tool | None) -> None:
    """Put each manifest where it belongs; lists of them are looked into."""
    waiting = [(top, 0)]
    while waiting:
        node, deep = waiting.pop(0)
        try:
            kind = node.need("kind").text()
            version = node.need("apiVersion").text()
            items = node.get("items") if kind.endswith("List") else None
            if items is not None and deep < _MOST_NESTED:
                inner = [Node(one.source, one.path, one.data, one.path) for one in items.items()]
                waiting += [(one, deep + 1) for one in inner]
                continue
            _keep(node, kind, version.partition("/")[0], found, tool)
        except RefusedError as error:
            Rows(report, "").refused(error)


def _keep(node: Node, kind: str, group: str, found: _Manifests, tool: Tool | None) -> None:
    whose = _GROUPS.get(group)
    if whose is None or kind not in _KINDS[whose] or tool not in {None, whose}:
        found.others.setdefault((node.source.file, f"{group}/{kind}"), []).append(node.place)
        return
    if kind in {"Rollout", "Canary"}:
        found.services.append((whose, node))
        return
    found.templates.append(node)
    if kind == "AlertProvider":
        return
    name = node.need("metadata").need("name").text()
    if kind == "MetricTemplate":
        found.flagger.known.setdefault(name, []).append(node)
    else:
        found.argo.add(name, node, cluster=kind == "ClusterAnalysisTemplate")


def _service(
    tool: Tool, manifest: Node, found: _Manifests, known: dict[str, Place], report: Report
) -> ServiceDraft | None:
    """One service; None where it was refused, which is in the table then."""
    rows = report.of("")
    try:
        name = _name(tool, manifest)
        rows = report.of(name)
        _beside(manifest, rows)
        _once(name, manifest, known)
        if tool is Tool.FLAGGER:
            draft = read_canary(manifest, name, found.flagger, rows)
        else:
            draft = read_rollout(manifest, name, found.argo, rows)
    except RefusedError as error:
        rows.refused(error)
        return None
    if draft.analysed and not draft.metrics:
        text = (
            "none of its metrics could be carried over: its bakes pass by time alone (metrics: [])"
        )
        rows.differs(manifest, text)
    rows.unknown(manifest)
    return draft


def _once(name: str, manifest: Node, known: dict[str, Place]) -> None:
    if (first := known.get(name)) is not None:
        raise RefusedError(
            manifest.place,
            f"a second service {quoted(name)}, the first is in {first.file}:{first.line}: import "
            "one "
            "environment at a time",
        )
    known[name] = manifest.place


def _name(tool: Tool, manifest: Node) -> str:
    node = manifest.need("metadata").need("name")
    node.text()
    if tool is Tool.FLAGGER:
        node = manifest.need("spec").need("targetRef").need("name")
    try:
        return _SERVICE.validate_python(node.text())
    except ValidationError:
        raise node.refuse(
            "a name of a service: a DNS label, lower-case letters, digits and hyphens, at most 63"
        ) from None


def _beside(manifest: Node, rows: Rows) -> None:
    """What every object of Kubernetes has and means nothing here."""
    for name in ("apiVersion", "kind", "status"):
        if (one := manifest.get(name)) is not None:
            one.take()
    metadata = manifest.need("metadata")
    metadata.take()
    if (namespace := metadata.get("namespace")) is not None:
        rows.same(namespace, "where the manifest is: nothing in a catalog but options of routers")


def _leftovers(found: _Manifests, report: Report) -> None:
    """Templates that nothing refers to, and documents of other kinds."""
    rows = report.of("")
    used = found.argo.used | found.flagger.used
    for node in found.templates:
        kind = str(node.data.get("kind"))
        _forgiving(node, rows)
        if kind == "AlertProvider":
            rows.none(
                node,
                "where a channel leads is a secret of the settings: make a channel of this name "
                "(docs/how-to/notices.md)",
            )
        elif node.key not in used:
            rows.none(node, f"{kind}: no service that was carried over refers to it")
        else:
            rows.unknown(node)
    for (_, kind), places in found.others.items():
        many = "1 manifest" if len(places) == 1 else f"{len(places):,} manifests"
        text = f"{many} of {quoted(kind)}: not read"
        report.add(Became.NONE, places[0], text, minor=True)


def _forgiving(node: Node, rows: Rows) -> None:
    try:
        _beside(node, rows)
    except RefusedError as error:
        rows.refused(error)


def has_refused(imported: Imported) -> bool:
    """Whether something was not understood."""
    return imported.report.counts[Became.REFUSED] > 0
