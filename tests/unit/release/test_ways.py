"""What the command line offers in a state is what is obeyed in it."""

from __future__ import annotations

import re

import pytest

from aviary.cli.ways import may
from aviary.releases.finding import waits_for_people
from schemas.release import CanaryPhase, Command, ReleasePhase, ReleaseStatus
from schemas.waits import asking, ends
from tests.unit.release.test_pages import MOVING, NOW, canary_page, plan_of, report
from workflows import describe
from workflows.commands import CommandKind
from workflows.pages import release as release_page
from workflows.service_states import ServiceStates


def states_of(services: CanaryPhase, *, pausing: bool = False) -> ServiceStates:
    """All services in one phase; `pausing`: an alert, say, lets their canaries go no further."""
    states = ServiceStates(plan_of(3))
    for name in states.phases:
        if services not in {CanaryPhase.WAITING, CanaryPhase.SKIPPED}:
            told = report(services, paused=pausing or services is CanaryPhase.PAUSED)
            states.take(told.model_copy(update={"service": name, "cause": None}))
        states.set_phase(name, services)
    return states


def status_of(states: ServiceStates, phase: ReleasePhase, *, paused: bool = False) -> ReleaseStatus:
    return ReleaseStatus(
        release="shop-42", phase=phase, paused=paused, services=states.statuses(), started_at=NOW
    )


@pytest.mark.parametrize("pausing", [False, True])
@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("services", CanaryPhase)
@pytest.mark.parametrize("phase", [one for one in ReleasePhase if one.forward])
def test_a_release_offers_just_what_it_obeys(
    phase: ReleasePhase, services: CanaryPhase, *, paused: bool, pausing: bool
) -> None:
    states = states_of(services, pausing=pausing)
    status = status_of(states, phase, paused=paused)
    (said,) = may(status, {})
    offered = set(re.findall(r"\b(\w+)\b", re.sub(r"\(.*?\)", "", said.split(";")[0])))
    # One whose canary has not come to telling that it asks for alerts is let through unasked.
    unsaid = {CommandKind.APPROVE, CommandKind.SKIP} if services is CanaryPhase.PREFLIGHT else set()
    obeyed = {
        kind
        for kind in CommandKind
        if states.refusal(kind, Command(), phase, paused=paused) is None
    }
    assert (offered & set(CommandKind)) | unsaid == obeyed | unsaid


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("phase", MOVING)
def test_what_ends_a_wait_is_obeyed_while_it_lasts(phase: CanaryPhase, *, paused: bool) -> None:
    going = not phase.too_late
    paused = going and (paused or phase is CanaryPhase.PAUSED)
    for kind in ends(report(phase, paused=paused)):
        assert describe.canary_refusal(CommandKind(kind), phase, paused=paused, at="") is None


@pytest.mark.parametrize(
    "services", [CanaryPhase.BAKING, CanaryPhase.SHIFTING, CanaryPhase.HOLDING]
)
def test_a_release_tells_of_a_canary_that_pauses_whatever_it_does(services: CanaryPhase) -> None:
    status = status_of(states_of(services, pausing=True), ReleasePhase.RUNNING)
    assert "`resume` goes on" in release_page(status, plan_of(3), at=NOW)
    assert "**Next:** nothing until `resume`" in release_page(status, plan_of(3), at=NOW)
    assert waits_for_people(status)
    assert asking(status.services).count("waits for") == 3
    assert not waits_for_people(status_of(states_of(services), ReleasePhase.RUNNING))


def test_no_skip_is_named_to_end_a_pause() -> None:
    assert ends(report(CanaryPhase.BAKING, paused=True)) == (CommandKind.RESUME,)
    assert ends(report(CanaryPhase.BAKING)) == (CommandKind.SKIP,)


@pytest.mark.parametrize(
    "services", [CanaryPhase.ROLLING_BACK, CanaryPhase.VERIFYING, CanaryPhase.FINALIZING]
)
def test_a_pause_from_before_holds_nothing_that_goes_back_or_finalizes(
    services: CanaryPhase,
) -> None:
    told = report(services, paused=True)
    assert ends(told) == ()
    assert not waits_for_people(status_of(states_of(services, pausing=True), ReleasePhase.RUNNING))
    assert "**Paused:**" not in canary_page(services, paused=True)
