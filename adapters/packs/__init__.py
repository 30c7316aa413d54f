"""Metric packs: what to ask of each router's metrics, as data in the YAML files beside this one.

Here belong queries; who asks them does not (`adapters.metrics`), and no way to count (`analysis`).

All queries ask for raw series, one per instance: counting is the judge's business, and `rate()` and
`increase()` would round and extrapolate what it must count exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from importlib.resources import files
from importlib.resources.abc import Traversable
from types import MappingProxyType
from typing import Annotated, Final, Literal, Self

import yaml
from pydantic import Field, ValidationError, model_validator

from schemas.base import Model
from schemas.catalog import Catalog
from schemas.catalog_check import Finding, listed, nearest
from schemas.catalog_fit import check_judged
from schemas.judging import (
    HistogramMetric,
    JudgeSpec,
    MetricName,
    MetricSpec,
    ThresholdMetric,
    render,
)
from schemas.promql import SAMPLES, fault


class _Query(Model):
    means: str = Field(description="What it counts, in words.")

    @property
    def parts(self) -> dict[str, str]:
        """PromQL template per part, as the metric of the same kind names its parts."""
        return self.model_dump(exclude={"means", "kind", "unit"}, exclude_none=True)

    @model_validator(mode="after")
    def _raw(self) -> Self:
        for part, template in self.parts.items():
            if expected := fault(render(template, SAMPLES), raw=True):
                raise ValueError(f"{part}: expected {expected}")
        return self


class RatioQuery(_Query):
    """Two raw counters."""

    kind: Literal["ratio"]
    bad: str
    total: str
    shown_by: str | None = None


class HistogramQuery(_Query):
    """Raw cumulative buckets."""

    kind: Literal["histogram"]
    buckets: str
    total: str | None = None
    unit: Literal["s", "ms"]


class GaugeQuery(_Query):
    """A value per instance."""

    kind: Literal["gauge"]
    value: str


Query = Annotated[RatioQuery | HistogramQuery | GaugeQuery, Field(discriminator="kind")]


class PoolName(Model):
    """How a router calls a version's instances, for judging the past without the router."""

    template: str
    replace: dict[str, str] = Field(default_factory=dict, description="Characters of the version.")

    def of(self, service: str, version: str) -> str:
        """The pool of one version."""
        for old, new in self.replace.items():
            version = version.replace(old, new)
        return render(self.template, {"service": service, "version": version})

    def version(self, written: str) -> str:
        """A version as it is written in a pool's name, written as it was."""
        for old, new in self.replace.items():
            written = written.replace(new, old)
        return written


class VersionQuery(Model):
    """How to find which versions served."""

    query: str
    label: str
    pattern: str = Field(description="Regular expression; its group is the version.")


class Pack(Model):
    """What to ask of one kind of router."""

    title: str
    needs: str = Field(description="What must be set up for the queries to answer.")
    pool: PoolName
    versions: VersionQuery | None = None
    requests: str | None = Field(
        default=None,
        description="Raw counters of the requests that one version got, for routers that count "
        "none themselves.",
    )
    queries: dict[MetricName, Query]

    @model_validator(mode="after")
    def _counted(self) -> Self:
        if self.requests is not None and (
            expected := fault(render(self.requests, SAMPLES), raw=True)
        ):
            raise ValueError(f"requests: expected {expected}")
        return self


def read_pack(file: Traversable) -> Pack:
    """Read and check one pack, of Aviary's own or of a package beside it.

    Raises:
        ValueError: it is wrong.
    """
    try:
        return Pack.model_validate(yaml.safe_load(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        raise ValueError(f"pack {file.name}: {error}") from error


class Packs:
    """The packs beside this module, and those that kinds of routers bring along.

    Args:
        more: packs of other packages, by name.
    """

    def __init__(self, more: Mapping[str, Pack] = MappingProxyType({})) -> None:
        self._folder = files("adapters.packs")
        own = (entry.name for entry in self._folder.iterdir())
        self._own = {name.removesuffix(".yaml") for name in own if name.endswith(".yaml")}
        self._read: dict[str, Pack] = dict(more)
        self.names = tuple(sorted(self._own | more.keys()))

    def load(self, name: str) -> Pack:
        """Give one pack, read when it is first asked for.

        Raises:
            ValueError: there is no such pack, or it is wrong.
        """
        if name not in self.names:
            raise ValueError(f"judge.pack: unknown pack {name}, expected {self._known(name)}")
        if name not in self._read:
            self._read[name] = read_pack(self._folder / f"{name}.yaml")
        return self._read[name]

    def resolve(self, spec: JudgeSpec, metric: MetricSpec) -> MetricSpec:
        """The metric with its PromQL filled in from the judge's pack; one with its own stays.

        Raises:
            ValueError: there is no pack, it has no such query, or it is of another kind.
        """
        if metric.query is None:
            return metric
        if spec.pack is None:
            raise ValueError(f"metric {metric.name}: expected {_needs_pack(metric, self.names)}")
        pack = self.load(spec.pack)
        if unfit := _unfit(spec.pack, pack, metric):
            why, expected = unfit
            raise ValueError(f"metric {metric.name}: {why}, expected {expected}")
        query = pack.queries[metric.query]
        filled: dict[str, str | None] = {**query.parts, "query": None}
        if isinstance(metric, HistogramMetric) and isinstance(query, HistogramQuery):
            filled["unit"] = query.unit
        return metric.model_copy(update=filled)

    def check(self, catalog: Catalog) -> Iterator[Finding]:
        """Give every pack and query that a catalog names and that is not there, or does not fit."""
        return check_judged(catalog, self._lacking)

    def _lacking(self, spec: JudgeSpec, metrics: Sequence[MetricSpec]) -> Iterator[Finding]:
        if spec.pack is not None and spec.pack not in self.names:
            yield Finding(("judge", "pack"), spec.pack, self._known(spec.pack))
            return
        pack = None if spec.pack is None else self.load(spec.pack)
        for at, metric in enumerate(metrics):
            path = ("metrics", at, "query")
            if pack is None or spec.pack is None:
                if metric.query is not None:
                    yield Finding(path, metric.query, _needs_pack(metric, self.names))
            elif unfit := _unfit(spec.pack, pack, metric):
                why, expected = unfit
                yield Finding(path, metric.query, f"{expected} ({why})")

    def _known(self, name: str) -> str:
        return f"{', '.join(self.names)}{nearest(name, self.names)}"


BUILT_IN: Final = Packs()
"""Aviary's own packs."""


def _needs_pack(metric: MetricSpec, names: Sequence[str]) -> str:
    own = " and ".join(metric.required_parts)
    return f"own PromQL in {own}, or a pack with this query in judge.pack: {', '.join(names)}"


def _unfit(name: str, pack: Pack, metric: MetricSpec) -> tuple[str, str] | None:
    """Why a metric's query does not fit, and what is expected; None where it does."""
    if metric.query is None:
        return None
    query = pack.queries.get(metric.query)
    if query is None:
        own = " and ".join(metric.required_parts)
        hint = nearest(metric.query, pack.queries)
        expected = f"{listed(pack.queries)}, or own PromQL in {own}{hint}"
        return f"pack {name} has no query {metric.query}", expected
    wanted = "gauge" if isinstance(metric, ThresholdMetric) else metric.kind
    if query.kind == wanted:
        return None
    fitting = listed(key for key, one in pack.queries.items() if one.kind == wanted)
    why = f"query {metric.query} of pack {name} is a {query.kind}"
    return why, f"a {wanted}, such as {fitting}" if fitting else f"a {wanted}; it has none"
