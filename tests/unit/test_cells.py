"""Ids of cells: nothing of one begins like anything of another."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.builds.identity import deployment_of
from aviary.settings import Settings, SettingsError, load_settings
from schemas.ids import (
    CELL_PATTERN,
    KINDS,
    NO_CELL,
    Cell,
    admission_workflow_id,
    canary_workflow_id,
    cell_of,
    drift_schedule_id,
    main_queue,
    release_workflow_id,
)

ROOT = Path(__file__).parents[2]
CELLS = st.from_regex(CELL_PATTERN, fullmatch=True).filter(lambda one: one not in KINDS).map(Cell)
NAMES = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,20}", fullmatch=True)
OF_A_CELL = ("release_workflow_id", "canary_workflow_id", "admission_workflow_id")


def ids(name: str, cell: Cell) -> list[str]:
    return [
        release_workflow_id(name, cell),
        canary_workflow_id(name, cell),
        admission_workflow_id(main_queue(name, cell), cell),
        f"{drift_schedule_id(cell)}-2026-01-31T12:00:00Z",
    ]


def test_without_a_cell_ids_are_as_in_a_namespace_of_its_own() -> None:
    assert ids("x", NO_CELL)[:3] == ["release/x", "canary/x", "admission/x"]
    assert main_queue("aviary") == "aviary"


def test_a_cell_comes_first() -> None:
    assert ids("x", Cell("eu"))[:3] == ["eu/release/x", "eu/canary/x", "eu/admission/x"]
    assert main_queue("aviary", Cell("eu")) == "eu/aviary"
    assert drift_schedule_id(Cell("eu")) == "eu/aviary-drift"


@given(cell=CELLS | st.just(NO_CELL), name=NAMES)
def test_the_cell_of_an_id_is_found_again(cell: Cell, name: str) -> None:
    assert {cell_of(one) for one in ids(name, cell)} == {cell}


@given(one=CELLS | st.just(NO_CELL), other=CELLS | st.just(NO_CELL), name=NAMES)
def test_what_is_asked_for_by_its_beginning_is_of_one_cell(
    one: Cell, other: Cell, name: str
) -> None:
    for begins in (release_workflow_id("", one), canary_workflow_id("", one)):
        assert one == other or not any(found.startswith(begins) for found in ids(name, other))


def test_every_id_in_the_product_is_made_with_its_cell() -> None:
    assert not [f"{file}:{call.lineno}" for file, call in _calls() if len(call.args) < 2]


def _calls() -> Iterator[tuple[Path, ast.Call]]:
    """Of the functions that make ids; the embedded stack has no cells."""
    for package in ("workflows", "activities", "adapters", "aviary"):
        for file in (ROOT / package).rglob("*.py"):
            if "local" in file.parts:
                continue
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.Call):
                    name = getattr(node.func, "attr", getattr(node.func, "id", ""))
                    if name in OF_A_CELL:
                        yield file, node


@pytest.mark.parametrize("wrong", [*KINDS, "EU", "a/b", "-"])
def test_a_cell_is_a_short_name_and_no_kind(wrong: str) -> None:
    with pytest.raises(SettingsError, match="AVIARY_CELL"):
        load_settings(cell=wrong)


def test_queues_and_builds_are_of_a_cell() -> None:
    settings = Settings(cell="eu")
    assert settings.main_queue == "eu/aviary"
    assert deployment_of(settings) == "eu_aviary"
