"""What the command line offers in a state is what is obeyed in it."""

from __future__ import annotations

import re

import pytest

from aviary.cli.ways import may
from schemas.release import CanaryPhase, Command, ReleasePhase, ReleaseStatus
from schemas.waits import ends
from tests.unit.release.test_pages import MOVING, NOW, plan_of, report
from workflows import describe
from workflows.board import Board
from workflows.commands import Word


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("services", CanaryPhase)
@pytest.mark.parametrize("phase", [one for one in ReleasePhase if one.forward])
def test_a_release_offers_just_what_it_obeys(
    phase: ReleasePhase, services: CanaryPhase, *, paused: bool
) -> None:
    board = Board(plan_of(3))
    for name in board.phases:
        if services not in {CanaryPhase.WAITING, CanaryPhase.SKIPPED}:
            told = report(services, paused=services is CanaryPhase.PAUSED)
            board.take(told.model_copy(update={"service": name, "cause": None}))
        board.set_phase(name, services)
    status = ReleaseStatus(
        release="shop-42", phase=phase, paused=paused, services=board.statuses(), started_at=NOW
    )
    (said,) = may(status, {})
    offered = set(re.findall(r"\b(\w+)\b", re.sub(r"\(.*?\)", "", said.split(";")[0])))
    # One whose canary has not come to telling that it asks for alerts is let through unasked.
    unsaid = {Word.APPROVE, Word.SKIP} if services is CanaryPhase.PREFLIGHT else set()
    obeyed = {word for word in Word if board.refusal(word, Command(), phase, paused=paused) is None}
    assert (offered & set(Word)) | unsaid == obeyed | unsaid


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("phase", MOVING)
def test_what_ends_a_wait_is_obeyed_while_it_lasts(phase: CanaryPhase, *, paused: bool) -> None:
    going = phase not in describe.GOING_BACK | describe.NO_WAY_BACK
    paused = going and (paused or phase is CanaryPhase.PAUSED)
    for word in ends(report(phase, paused=paused), paused=paused):
        assert describe.canary_refusal(Word(word), phase, paused=paused, at="") is None
