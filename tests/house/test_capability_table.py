"""The table of routers is made of their capabilities, and each of its cells has a test.

A cell is what `aviary routers` says of one capability. The contract suite runs a module for each
that a kind claims, and with the others has it refuse by name (`tests/contract/routers/claims.py`).
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any, Final

import pytest

from aviary.cli.routers import capable
from aviary.kinds import ROUTERS
from schemas.audience import AudienceBy
from schemas.capabilities import (
    AudienceTerms,
    Capabilities,
    Counting,
    RelativeGrid,
    StickyBy,
    TotalGrid,
)
from schemas.sticky import StickyChoice
from tests.contract.routers.subjects import SUBJECTS
from tests.groups import ROOT

SUITE: Final = ROOT / "tests" / "contract" / "routers"
CELLS: Final[Mapping[str, tuple[Any, str]]] = {
    "weights": (RelativeGrid(most=7), "test_weights"),
    "sticky": ((StickyBy.COOKIE,), "test_sticky"),
    "sticky_choices": ((StickyChoice.SESSION,), "test_sticky_choice"),
    "forced": ((AudienceBy.COOKIE,), "test_forced"),
    "audiences": ((AudienceBy.PATH,), "test_audiences"),
    "lanes": (True, "test_lanes"),
    "mirroring": (True, "test_mirroring"),
    "counts": (Counting.ROUTER, "test_counts"),
}
"""What the table says of a router: another value of it, and the module that tries it."""
OF_AUDIENCES: Final[Mapping[str, tuple[Any, str]]] = {
    "prefixes": ((AudienceBy.PATH,), "test_audiences"),
    "regexes": ((AudienceBy.PATH,), "test_audiences"),
    "negated": ((AudienceBy.PATH,), "test_audiences"),
    "all_of": (True, "test_audiences"),
    "kept": (True, "test_kept_audiences"),
    "mixed": (False, "test_audiences"),
    "beside": ("off", "test_audiences"),
}
OF_MIRRORS: Final[Mapping[str, tuple[Any, str]]] = {
    "mirror_reads": (True, "test_mirroring"),
    "mirror_mark": (True, "test_mirroring"),
}
TRIED_BY: Final[Mapping[str, str]] = {
    "prefixes": "test_by_how_a_value_begins",
    "regexes": "test_by_a_regular_expression_of_the_whole_value",
    "negated": "test_those_who_do_not_have_it",
    "all_of": "test_all_conditions_have_to_fit",
    "mirror_reads": "test_what_it_cant_keep_out_of_copies_or_mark_is_refused",
    "mirror_mark": "test_what_it_cant_keep_out_of_copies_or_mark_is_refused",
}
"""The one test of a cell whose module tries others as well."""
REFUSED: Final = frozenset({"sticky_choices", "forced", "audiences", "lanes", "mirroring", "kept"})
"""What a route asks for, so that a router which does not claim it has to refuse it by name."""
UNSAID: Final = frozenset(
    {
        "apart",
        "audience_terms",
        "counters",
        "endpoints",
        "fence",
        "flags",
        "instances",
        "leases",
        "pinned",
        "platform_errors",
        "registers",
        "users",
    }
)
"""What is in the data alone: `aviary routers --output json`."""
NOTHING: Final = Capabilities(weights=TotalGrid(total=100))
COPIES: Final = NOTHING.model_copy(update={"mirroring": True})


def _tests(module: str) -> dict[str, frozenset[str]]:
    """The tests of a module, each with what it takes."""
    tree = ast.parse((SUITE / f"{module}.py").read_text())
    return {
        one.name: frozenset(argument.arg for argument in one.args.args)
        for one in tree.body
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef)
        if one.name.startswith("test_")
    }


def test_each_capability_is_in_a_cell_or_said_to_be_in_none() -> None:
    assert CELLS.keys() | OF_MIRRORS.keys() | UNSAID == Capabilities.model_fields.keys()
    assert OF_AUDIENCES.keys() | {"matches"} == AudienceTerms.model_fields.keys()


@pytest.mark.parametrize("name", [*CELLS, *OF_MIRRORS, *OF_AUDIENCES])
def test_each_cell_says_what_the_router_claims_and_is_tried(name: str) -> None:
    value, module = {**CELLS, **OF_MIRRORS, **OF_AUDIENCES}[name]
    before = COPIES if name in OF_MIRRORS else NOTHING
    update = {"audience_terms": AudienceTerms(**{name: value})} if name in OF_AUDIENCES else None
    after = before.model_copy(update=update or {name: value})
    assert capable(after) != capable(before), "the table does not show it"
    assert _tests(module), f"{module} tries nothing"


@pytest.mark.parametrize("name", [*CELLS, *OF_MIRRORS, *OF_AUDIENCES])
def test_each_cell_is_tried_with_the_routers_that_claim_it_and_refused_by_the_others(
    name: str,
) -> None:
    tests = _tests({**CELLS, **OF_MIRRORS, **OF_AUDIENCES}[name][1])
    tried = {test for test, takes in tests.items() if "subject" in takes}
    assert tried, "with no router"
    assert name not in TRIED_BY or TRIED_BY[name] in tried
    refused = [test for test, takes in tests.items() if "stranger" in takes]
    assert refused or name not in REFUSED, "of no router is it asked to refuse"


@pytest.mark.parametrize("name", sorted(UNSAID - {"audience_terms"}))
def test_what_is_in_no_cell_changes_none(name: str) -> None:
    value = () if name == "platform_errors" else True
    assert capable(NOTHING.model_copy(update={name: value})) == capable(NOTHING)


def test_each_row_is_of_a_kind_that_the_suite_runs_with() -> None:
    assert {kind.name for kind in ROUTERS} <= SUBJECTS.keys()
    for kind in ROUTERS:
        shown, tried = capable(kind.capabilities), SUBJECTS[kind.name]
        assert shown.startswith(f"Weights: {tried.weights.text}")
        assert set(kind.capabilities.audiences) <= set(tried.audiences)
        assert kind.capabilities.lanes <= tried.lanes
        assert kind.capabilities.mirroring <= tried.mirroring
