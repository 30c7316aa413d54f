"""What a phase means stands in the tables of `schemas.phases` alone, and there is all of it."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Formatter

import pytest

from schemas.attributes import STATE
from schemas.phase_facts import RUNNING, CanaryFacts, Facts, Way
from schemas.phases import CanaryPhase, ReleasePhase
from tests.groups import ROOT

FOLDERS = ("activities", "adapters", "analysis", "aviary", "bench", "schemas", "workflows")
TABLE = "schemas/phases.py"
PHASES = (*CanaryPhase, *ReleasePhase)
_ENUMS = {CanaryPhase.__name__, ReleasePhase.__name__}
_VALUES = {phase.value for phase in PHASES}


def _is_phase(node: ast.AST | None) -> bool:
    """Whether it is `CanaryPhase.X`, `ReleasePhase.X` or the value of one."""
    if isinstance(node, ast.Attribute) and node.attr == "value":
        node = node.value
    return (
        isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id in _ENUMS
    )


def _of_phases(found: Sequence[ast.AST | None]) -> bool:
    words = [one.value for one in found if isinstance(one, ast.Constant)]
    named = len(words) > 1 and len(words) == len(found) and _VALUES.issuperset(words)
    return named or any(map(_is_phase, found))


def collections_in(source: str) -> Iterator[int]:
    """The lines on which a module makes a collection of phases, or cases for several at once."""
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Set() | ast.List() | ast.Tuple():
                found: Sequence[ast.AST | None] = node.elts
            case ast.Dict():
                found = node.keys
            case ast.MatchOr():
                found = [one.value for one in node.patterns if isinstance(one, ast.MatchValue)]
            case ast.Match():
                values = [case.pattern for case in node.cases]
                found = [one.value for one in values if isinstance(one, ast.MatchValue)]
            case _:
                continue
        if _of_phases(found):
            yield node.lineno


def _modules() -> list[str]:
    listed = subprocess.run(
        ["git", "ls-files", "--", *(f"{folder}/*.py" for folder in FOLDERS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [name for name in listed.stdout.split() if name != TABLE]


@pytest.mark.parametrize("name", _modules())
def test_no_module_has_a_collection_of_phases_of_its_own(name: str) -> None:
    found = list(collections_in(Path(ROOT, name).read_text()))
    assert not found, f"{name}, lines {found}: ask a column of schemas.phases instead"


@pytest.mark.parametrize(
    "source",
    [
        "X = {CanaryPhase.BAKING}",
        "X = (ReleasePhase.RUNNING, ReleasePhase.SOAKING)",
        "X = {CanaryPhase.BAKING.value: 1}",
        "X = ['rolling_back', 'rolled_back']",
        "X = frozenset(('gated', 'paused'))",
        "match at:\n    case CanaryPhase.BAKING | CanaryPhase.GATED:\n        pass",
        "match at:\n    case ReleasePhase.QUEUED:\n        pass",
    ],
)
def test_a_collection_is_found(source: str) -> None:
    assert list(collections_in(source))


def test_what_is_no_collection_is_let_be() -> None:
    fine = (
        "X = at is CanaryPhase.BAKING\nY = {'holding': 1, 'left': 2}\nZ = f(CanaryPhase.GATED, 1)"
    )
    assert not list(collections_in(fine))


@pytest.mark.parametrize("phase", PHASES, ids=repr)
def test_every_phase_has_all_that_is_asked_of_it(phase: CanaryPhase | ReleasePhase) -> None:
    about: Facts = phase.about
    assert re.fullmatch(r"[A-Z].*\.", about.meaning)
    assert phase.closed == (not about.following) or phase in {
        CanaryPhase.WAITING,  # its release's page tells what it waits for
        ReleasePhase.FINALIZING,
    }
    assert bool(about.moment) == bool(about.entered), "a moment has a text"
    assert about.verb in {"is", "was"}
    assert about.tone in {"good", "bad", "open", "none"}
    assert len(about.sign) == 1
    if phase.closed:
        assert about.afterwards, "what a person may do"
        assert about.way is not Way.FORWARD


@pytest.mark.parametrize("phase", CanaryPhase)
def test_every_phase_of_a_canary_fits_the_others(phase: CanaryPhase) -> None:
    about = phase.about
    assert about.listed_as == RUNNING or about.listed_as in set(CanaryPhase), STATE
    assert about.takes_slot == (about.urgency > 0), "what moves is shown before what does not"
    assert bool(about.ends_by) == bool(about.ends_how)
    assert not (phase.closed and about.takes_slot)
    assert not (phase.untouched and about.takes_slot)
    assert not (about.has_step and not phase.forward)
    assert about.event or about.listed_as in {RUNNING, CanaryPhase.ROLLING_BACK}, "found, not told"
    assert _names(about.following) <= {"service", "version", "stable", "step"}
    known = {"service", "version", "stable", "weight", "bake", "waits_for"}
    assert _names(about.entered) <= known


def test_no_two_phases_that_move_are_as_urgent() -> None:
    ranks = [phase.about.urgency for phase in CanaryPhase if phase.about.takes_slot]
    assert len(set(ranks)) == len(ranks)


@pytest.mark.parametrize("phase", ReleasePhase)
def test_every_phase_of_a_release_has_a_headline(phase: ReleasePhase) -> None:
    assert phase.about.headline.startswith(f"{phase.about.verb} {phase.words}")
    assert _names(phase.about.headline) <= {"holding", "services", "but"}
    assert _names(phase.about.following) <= {"first", "running"}
    assert _names(phase.about.entered) <= {"release", "why"}


def _names(template: str) -> set[str]:
    return {name for _, name, _, _ in Formatter().parse(template) if name}


def test_phases_of_one_name_look_alike() -> None:
    for name in {phase.value for phase in CanaryPhase} & {phase.value for phase in ReleasePhase}:
        here, there = CanaryPhase(name).about, ReleasePhase(name).about
        assert (here.style, here.tone, here.way, here.closed) == (
            there.style,
            there.tone,
            there.way,
            there.closed,
        )


def test_a_word_looks_a_phase_up_and_makes_none() -> None:
    assert CanaryPhase("baking") is CanaryPhase.BAKING
    with pytest.raises(ValueError, match="'roasting' is not a valid CanaryPhase"):
        CanaryPhase("roasting")


def rows_of(phases: type[CanaryPhase | ReleasePhase]) -> list[str]:
    """The table of phases as docs/concepts.md has it."""
    rows = []
    for phase in phases:
        about = phase.about
        listed = about.listed_as if isinstance(about, CanaryFacts) else phase.value
        told = f"`{about.event.removeprefix('dev.aviary.')}`" if about.event else ""
        notice = f"`{about.notice}`" if about.notice else ""
        rows.append(f"| `{phase}` | {about.meaning} | `{listed}` | {told} | {notice} |")
    return rows


@pytest.mark.parametrize("phases", [CanaryPhase, ReleasePhase])
def test_the_docs_have_the_table(phases: type[CanaryPhase | ReleasePhase]) -> None:
    wanted = rows_of(phases)
    text = Path(ROOT, "docs/concepts.md").read_text()
    assert "\n".join(wanted) in text, "docs/concepts.md, expected:\n" + "\n".join(wanted)
