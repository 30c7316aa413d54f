"""Catalogs of any bytes, and real ones that were damaged: an answer in bounds, never a fault."""

from __future__ import annotations

import json
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from adapters.packs import BUILT_IN
from schemas.catalog import Catalog
from schemas.catalog_file import MOST_SHOWN, CatalogError
from schemas.deploy import DeployRequested
from schemas.files import UnreadableError, decoded
from schemas.outside import visible
from schemas.release import ReleasePlan
from tests.catalogs import parse
from workflows.planning import PlanError, plan_release

ROOT = Path(__file__).resolve().parents[2]
REAL = [
    path.read_text(encoding="utf-8")
    for path in (ROOT / "deploy/catalog.yaml", ROOT / "aviary/local/catalog.yaml")
]
PIECES = [
    *("<<: *a", "&a ", "*a", "- ", "? ", ": ", "{", "}", "[", "]", "|\n", ">\n", "#", "---\n"),
    *("!!int ", "!!bool zz", '!!int ""', "!!set ", "!x ", "0x" + "f" * 200, "1" * 5000, "1:59"),
    *('"', "'", "\\", "\x00", "\u202e", "\ud7ff", "é", "~", "null", ".nan", ".inf", "1e999"),
    *("150%", "0%", "-1", "true", "no", "ramp: {budget: 1}", "steps: [5, 5]", "pack: nginx"),
    *("{{service}}", "{{nope}}", "sum(rate(x[5m]))", "((((", "metrics: []", "kind: ratio"),
    *("depends_on", "services", "\t", "\r", "%YAML", "a: &x [*x]\n", "x" * 5000, "\n" * 3000),
    *("[" * 3000, "{a: " * 3000, "- " * 3000),
]
_CUT = st.tuples(st.integers(0, 10_000), st.integers(0, 60), st.sampled_from([*PIECES, ""]))


def read(text: str) -> Catalog | None:
    """What the command line and the bridge do with a catalog."""
    try:
        return parse(text, "c.yaml", (BUILT_IN.check,))
    except CatalogError as error:
        told = str(error)
    lines = told.split("\n")
    assert 0 < len(lines) <= MOST_SHOWN + 1
    assert all(len(line) < 8000 and visible(line) == line for line in lines)
    return None


def told(text: str) -> None:
    """Each problem says where, and what was expected."""
    try:
        parse(text, "c.yaml", (BUILT_IN.check,))
    except CatalogError as error:
        for problem in error.shown:
            assert problem.expected
            # To YAML, more than a line feed ends a line.
            assert problem.line is None or 0 < problem.line <= len(text.splitlines()) + 2
            assert problem.line is not None or not problem.path or problem.value
            json.dumps(problem.to_json()).encode()


def planned(catalog: Catalog) -> None:
    """A valid catalog plans its services, or says why not; the plan comes back as it was."""
    services = [{"service": name, "version": "1.0"} for name in list(catalog.services)[:20]]
    deploy = DeployRequested.model_validate({"release": "r", "services": services})
    with suppress(PlanError):
        plan = plan_release(catalog, deploy)
        assert ReleasePlan.model_validate_json(plan.model_dump_json()) == plan


def damaged(text: str, cuts: Sequence[tuple[int, int, str]]) -> str:
    for at, length, piece in cuts:
        place = at % (len(text) + 1)
        text = text[:place] + piece + text[place + length :]
    return text


@given(st.binary(max_size=2000))
def test_any_bytes(content: bytes) -> None:
    with suppress(UnreadableError):
        read(decoded(content))


@given(st.lists(st.sampled_from(PIECES) | st.text(max_size=20), max_size=30))
def test_any_pieces(pieces: list[str]) -> None:
    read("".join(pieces))


@given(st.sampled_from(REAL), st.lists(_CUT, min_size=1, max_size=4))
def test_damaged_catalogs(text: str, cuts: list[tuple[int, int, str]]) -> None:
    text = damaged(text, cuts)
    found = read(text)
    told(text)
    if found is not None:
        planned(found)


@given(st.sampled_from(REAL), st.lists(st.tuples(st.integers(0), st.integers(0)), max_size=6))
def test_catalogs_with_lines_elsewhere(text: str, moves: list[tuple[int, int]]) -> None:
    lines = text.splitlines(keepends=True)
    for source, target in moves:
        lines.insert(target % (len(lines) + 1), lines.pop(source % len(lines)))
    found = read("".join(lines))
    if found is not None:
        planned(found)
