"""Manifests of any bytes, and damaged ones: a valid catalog, or why there is none."""

from __future__ import annotations

import json
from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from aviary.catalogs import parse_catalog_text
from aviary.moving.routers import Chooser
from aviary.moving.rows import Became
from aviary.moving.run import import_manifests
from schemas.catalog_file import CatalogError
from schemas.files import UnreadableError, decoded
from schemas.outside import visible
from tests.fuzz.test_catalogs import PIECES, damaged
from tests.unit.moving.imports import MANIFESTS

REAL = [path.read_text(encoding="utf-8") for path in MANIFESTS]
ODD = [
    *("{{args.x}}", "{{ target }}", "{{", "}}", "result[0] < 1", "(" * 500, "setWeight: -1"),
    *("setWeight: 1e400", "duration: 99999h", "duration: -5s", "count: 99999999", "interval: 0s"),
    *("steps: 5", "metrics: {}", "spec: []", "kind: List", "items: [[[]]]", "name: 'a\\nb'"),
    *("name: '#'", "name: \u202e", "templates: [{templateName: errors}]", "fieldPath: a.b['c'"),
    *("metadata: &m {name: x}\n*m : 1", "- pause:", "stepWeight: 0.001", "maxWeight: 1e9"),
    *("---\nkind: Rollout\napiVersion: argoproj.io/v1alpha1\n", "stepWeights: [true]", "~: 1"),
]
_CUT = st.tuples(st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([*PIECES, *ODD, ""]))
CHOOSE = Chooser({}, given=False)


def tried(*texts: str) -> None:
    """Import, and hold what comes of it against what is promised."""
    files = {f"{at}.yaml": text for at, text in enumerate(texts)}
    found = import_manifests(files, CHOOSE)
    assert visible(found.catalog, lines=True) == found.catalog
    for row in found.report.rows:
        assert visible(row.text) == row.text
        assert row.text
        assert len(row.text) <= 2000
        text = texts[int(row.place.file.removesuffix(".yaml"))]
        assert row.place.line is None or 0 < row.place.line <= len(text.splitlines()) + 2
        json.dumps(row.to_json()).encode()
    if found.catalog:
        try:
            catalog = parse_catalog_text(found.catalog, "catalog.yaml")
        except CatalogError as error:
            assert "at most" in str(error), found.catalog  # noqa: PT017 - bounds of a catalog alone
        else:
            assert set(catalog.services) == {service.name for service in found.services}
    elif "Rollout" in "".join(texts) and "argoproj.io" in "".join(texts):
        assert found.report.counts[Became.REFUSED] or found.report.counts[Became.NONE]


@given(st.binary(max_size=2000))
def test_any_bytes(content: bytes) -> None:
    with suppress(UnreadableError):
        tried(decoded(content))


@given(st.lists(st.sampled_from([*PIECES, *ODD]) | st.text(max_size=20), max_size=30))
def test_any_pieces(pieces: list[str]) -> None:
    tried("".join(pieces))


@given(st.sampled_from(REAL), st.lists(_CUT, min_size=1, max_size=4))
def test_damaged_manifests(text: str, cuts: list[tuple[int, int, str]]) -> None:
    tried(damaged(text, cuts))


@given(st.sampled_from(REAL), st.lists(st.tuples(st.integers(0), st.integers(0)), max_size=6))
def test_manifests_with_lines_elsewhere(text: str, moves: list[tuple[int, int]]) -> None:
    lines = text.splitlines(keepends=True)
    for source, target in moves:
        lines.insert(target % (len(lines) + 1), lines.pop(source % len(lines)))
    tried("".join(lines))


@given(
    st.sampled_from(REAL),
    st.lists(st.tuples(st.integers(0, 500), st.sampled_from([*ODD, *"~0[]{}", "true", "x" * 300]))),
)
def test_manifests_with_other_values(text: str, changes: list[tuple[int, str]]) -> None:
    """What stands behind a colon is something else."""
    lines = text.splitlines()
    for at, value in changes:
        key, colon, _ = lines[at % len(lines)].partition(": ")
        if colon:
            lines[at % len(lines)] = f"{key}: {value}"
    tried("\n".join(lines), REAL[0])
