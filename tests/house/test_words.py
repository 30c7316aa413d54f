"""The code is named by the field's words: those that readers did not know stay out of it.

Only names of things are looked at, not what is written about them.
"""

from __future__ import annotations

import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.groups import ROOT

FOLDERS = ("activities", "adapters", "analysis", "aviary", "bench", "schemas", "tests", "workflows")
PARTS = {
    "attend": "wait for end",
    "beat": "heartbeat",
    "board": "service states",
    "closeness": "boundary",
    "deed": "activity",
    "disobeyed": "sample ratio mismatch",
    "ground": "testbed",
    "heart": "heartbeat",
    "inbox": "decisions",
    "intake": "ingestion, or reader",
    "letter": "dead letter, or message",
    "nursery": "supervisor",
    "play": "scenario",
    "persist": "retry until available",
    "pulse": "shared heartbeat",
    "shelf": "queues",
    "story": "timeline, events or summary",
    "stories": "timelines, events",
    "teller": "publisher, or sender",
    "theatre": "viewer",
    "trail": "evidence series",
    "unwind": "rollback order, or traffic",
    "unwinding": "rollback order",
}
"""A part of a name, and what it is called now; the plural with `s` is the same."""
NAMES = {
    "Line": "ReleaseQueue",
    "Memory": "RecentlySeen, SeenAlerts",
    "Recall": "Resync, EndOrder",
    "Share": "SampleRatio",
    "Tell": "Deliver",
    "Turn": "AdmissionClient",
    "Word": "CommandKind",
}
"""Whole names of classes: as parts of names they are plain English."""
KEPT = {
    # A class of a test of notifiers: one that keeps in memory what it was told.
    ("tests/contract/notifiers/subjects.py", "Memory"),
    # The alphabet.
    ("tests/unit/release/test_release_queue.py", "letter"),
    ("tests/unit/release/test_release_queue.py", "letters"),
}
_PART = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])")
_ANY = re.compile("|".join([*PARTS, *NAMES]), re.IGNORECASE)


def outdated(name: str) -> str | None:
    """What a name should rather have in it; None where nothing is wrong with it."""
    if name in NAMES:
        return NAMES[name]
    parts = [part.lower() for part in _PART.findall(name)]
    for before, part in zip(["", *parts], parts, strict=False):
        found = PARTS.get(part) or PARTS.get(part.removesuffix("s"))
        if found is not None and not (before == "dead" and part.startswith("letter")):
            return found
    return None


def names_in(source: str) -> Iterator[tuple[int, str]]:
    """Every name of a module's text, with its line."""
    if _ANY.search(source) is None:  # most modules; reading all token by token takes a while
        return
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.NAME:
            yield token.start[0], token.string


def test_the_code_has_no_word_that_readers_did_not_know() -> None:
    wrong = []
    for path in sorted(file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")):
        place = path.relative_to(ROOT).as_posix()
        for line, name in [(0, path.stem), *names_in(path.read_text())]:
            instead = outdated(name)
            if instead is not None and (place, name) not in KEPT:
                wrong.append(f"{place}:{line}: {name}: {instead}")
    assert wrong == []


@pytest.mark.parametrize(
    "name", ["_trail", "ServiceStory", "test_a_letter_is_cut", "SIGNAL_UNWIND", "Word", "beats"]
)
def test_an_old_word_is_found(name: str) -> None:
    assert outdated(name) is not None


@pytest.mark.parametrize(
    "name", ["dead_letters", "heartbeat", "background", "KeyboardInterrupt", "history", "words"]
)
def test_a_word_that_only_looks_alike_is_not(name: str) -> None:
    assert outdated(name) is None


def test_what_is_kept_is_there() -> None:
    """An exception without its reason would hide the next mistake."""
    for place, name in KEPT:
        assert name in {found for _, found in names_in(Path(ROOT, place).read_text())}
