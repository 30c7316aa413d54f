"""Manifests as people write them: what an import makes of each is what it made, and valid."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from aviary.catalogs import parse_catalog_text
from aviary.moving.routers import Chooser
from aviary.moving.rows import Became
from aviary.moving.run import import_manifests
from schemas.catalog_fit import by_time_alone
from tests.unit.moving.imports import (
    MANIFESTS,
    WHOLE,
    commented,
    expected,
    imported,
    kept,
    name_of,
    whole,
)

every = pytest.mark.parametrize("path", MANIFESTS, ids=name_of)
REFUSED_WHOLE = {
    "argo/10-falling-weights",
    "argo/16-helm-not-rendered",
    "flagger/07-ab-test",
    "flagger/09-never-moves",
}
"""Manifests that no catalog can stand for."""


def test_there_are_fifteen_of_each_tool() -> None:
    tools = [path.parent.name for path in MANIFESTS]
    assert tools.count("argo") >= 15
    assert tools.count("flagger") >= 15


@every
def test_the_import_is_as_expected(path: Path) -> None:
    assert kept(path) == expected(path).read_text()


@pytest.mark.parametrize("path", WHOLE, ids=name_of)
def test_the_comments_are_as_expected(path: Path) -> None:
    assert commented(path) == whole(path).read_text()


@every
def test_the_catalog_is_valid_or_the_table_says_why_there_is_none(path: Path) -> None:
    found = imported(path.read_text())
    if name_of(path) in REFUSED_WHOLE:
        assert found.catalog == ""
        assert found.report.counts[Became.REFUSED]
        return
    catalog = parse_catalog_text(found.catalog, "catalog.yaml")
    assert set(catalog.services) == {service.name for service in found.services}


@every
def test_each_row_has_its_line(path: Path) -> None:
    text = path.read_text()
    lines = text.splitlines()
    for row in imported(text).report.rows:
        assert row.place.line is not None
        last = row.place.path.rpartition(".")[2].partition("[")[0]
        if row.place.path and "[" not in row.place.path and last in text:
            assert last in lines[row.place.line - 1], row.where


def test_who_had_an_analysis_and_has_no_metric_is_told() -> None:
    for path in MANIFESTS:
        found = imported(path.read_text())
        if not found.catalog:
            continue
        told = {row.service for row in found.report.rows if "metrics: []" in row.text}
        assert set(by_time_alone(parse_catalog_text(found.catalog, "c"))) <= told, path


SOUND = [
    path
    for path in MANIFESTS
    if name_of(path) not in REFUSED_WHOLE and path.parent.name in {"argo", "flagger"}
]


def _mappings(value: Any) -> list[dict[str, Any]]:
    found, waiting = [], [value]
    while waiting:
        one = waiting.pop()
        if isinstance(one, dict):
            found.append(one)
            waiting += one.values()
        elif isinstance(one, list):
            waiting += one
    return found


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(SOUND), st.integers(0, 10_000))
def test_no_field_is_dropped_in_silence(path: Path, at: int) -> None:
    """A field that nobody knows is told by its name, or with what is around it."""
    documents = deepcopy(list(yaml.safe_load_all(path.read_text())))
    mappings = [one for document in documents for one in _mappings(document)]
    mapping = mappings[at % len(mappings)]
    mapping["xyzzy"] = 1
    found = import_manifests(
        {"f": yaml.safe_dump_all(documents, sort_keys=False)}, Chooser({}, given=False)
    )
    lines = yaml.safe_dump_all(documents, sort_keys=False).splitlines()
    line = next(n for n, text in enumerate(lines, 1) if "xyzzy" in text)
    rows = found.report.rows
    named = [row for row in rows if row.place.path.endswith("xyzzy") and row.place.line == line]
    around = [row for row in rows if row.became in {Became.NONE, Became.REFUSED}]
    beside = {"metadata", "annotations", "labels"} & {
        part for part in _path_of(documents, mapping) if isinstance(part, str)
    }
    assert (
        named
        or beside
        or any(_holds(row.place.path, documents, mapping) for row in around)
        or (_is_other(documents, mapping))
    ), (path, line)


def _path_of(documents: list[Any], mapping: dict[str, Any]) -> list[str | int]:
    waiting: list[tuple[list[str | int], Any]] = [([], one) for one in documents]
    while waiting:
        path, one = waiting.pop()
        if one is mapping:
            return path
        if isinstance(one, dict):
            waiting += [([*path, key], value) for key, value in one.items()]
        elif isinstance(one, list):
            waiting += [([*path, key], value) for key, value in enumerate(one)]
    raise AssertionError("it is in there")


def _written(path: list[str | int]) -> str:
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


def _holds(told: str, documents: list[Any], mapping: dict[str, Any]) -> bool:
    """Whether a row is about the mapping, what is around it, or what of it was not understood."""
    own = _path_of(documents, mapping)
    if own[:1] == ["items"]:
        own = own[2:]
    refused = own[: own.index("metrics") + 2] if "metrics" in own else own
    inside = told.startswith((f"{_written(refused)}.", f"{_written(refused)}["))
    return inside or any(_written(own[:length]) == told for length in range(len(own) + 1))


def _is_other(documents: list[Any], mapping: dict[str, Any]) -> bool:
    """Whether it is in a list of manifests itself, or in a manifest of another kind."""
    path = _path_of(documents, mapping)
    return path == []
