"""All that tells of phases tells of each of them, and of one that was never heard of before."""

from __future__ import annotations

from typing import Any

import pytest

from aviary.cli.tables import status_view
from aviary.cli.tree import Look, Tree
from aviary.history.reports import moments_told
from aviary.report.words import badge, release_badge
from schemas.event_kinds import EventType, MomentKind
from schemas.phase_facts import RUNNING, CanaryFacts, ReleaseFacts, Way
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.release import ReleaseStatus, ServiceStatus
from tests.unit.release.test_pages import NOW, canary_page, plan_of, release_page, report
from workflows.describe import phase as in_words
from workflows.plan import Start, View, next_actions


def made_up(of: type[CanaryPhase | ReleasePhase], about: CanaryFacts | ReleaseFacts) -> Any:
    """A phase that is one more row of its table, and known to nothing but it."""
    phase: Any = str.__new__(of, "cooling_down")
    phase._name_, phase._value_, phase.about = "COOLING_DOWN", "cooling_down", about
    return phase


COOLING = made_up(
    CanaryPhase,
    CanaryFacts(
        meaning="It cools down.",
        way=Way.FORWARD,
        takes_slot=True,
        urgency=10,
        asks=True,
        ends_by="skip",
        ends_how="ends the cooling",
        following="when it is cool, {step}",
        sign="*",
        tone="good",
        listed_as="cooling_down",
        event=EventType.CANARY_CHANGED,
        moment=MomentKind.HOLDING,
        entered="{service} {version} cools down",
    ),
)
RELEASE_COOLING = made_up(
    ReleasePhase,
    ReleaseFacts(
        meaning="It cools down.",
        way=Way.FORWARD,
        headline="is cooling down: {services}",
        following="it gets warm.",
        event=EventType.RELEASE_SOAKING,
        sign="*",
    ),
)


def _status(phase: CanaryPhase) -> ReleaseStatus:
    service = ServiceStatus(service="s0", version="2.0", depends_on=(), phase=phase, steps=3)
    return ReleaseStatus(
        release="shop-42",
        phase=ReleasePhase.RUNNING,
        paused=False,
        services=(service,),
        started_at=NOW,
    )


@pytest.mark.parametrize("phase", CanaryPhase)
def test_each_phase_of_a_canary_has_words_a_sign_and_a_state(phase: CanaryPhase) -> None:
    words = phase.value.replace("_", " ")
    assert in_words(phase, None, 0) == words
    assert f"{phase.about.verb} {words}" in canary_page(phase)
    drawn = "\n".join(map(str, Tree(100).lines(Look(_status(phase)), NOW)))
    assert f"s0 2.0  {words}" in drawn
    assert words in str(badge(phase))
    assert f'class="badge {phase.about.tone}"' in str(badge(phase))
    assert phase.about.listed_as in {RUNNING, *CanaryPhase}


@pytest.mark.parametrize("phase", ReleasePhase)
def test_each_phase_of_a_release_has_words_and_a_sign(phase: ReleasePhase) -> None:
    words = phase.value.replace("_", " ")
    assert words in release_page(phase, CanaryPhase.HOLDING).splitlines()[0]
    assert words in str(release_badge(phase))


def test_a_new_phase_of_a_canary_is_one_row() -> None:
    page = canary_page(COOLING)
    assert "is cooling down" in page
    assert "**Next:** when it is cool" in page
    assert "`skip` ends the cooling" in page
    assert "cooling down" in release_page(ReleasePhase.RUNNING, COOLING)
    drawn = "\n".join(map(str, Tree(100).lines(Look(_status(COOLING)), NOW)))
    assert "cooling down" in drawn
    assert "skip (ends the cooling)" in drawn
    assert status_view(_status(COOLING), {}).row_count == 2
    assert 'class="badge good"' in str(badge(COOLING))
    assert COOLING.about.listed_as == "cooling_down"
    plan = plan_of(1).services["s0"]
    (moment,) = moments_told(plan, [report(COOLING)], alone=False)
    assert moment.text == f"s0 {plan.version} cools down"


def test_a_new_phase_of_a_canary_takes_a_slot() -> None:
    needs: dict[str, tuple[str, ...]] = {"a": (), "b": ()}
    phases = {"a": COOLING, "b": CanaryPhase.WAITING}
    assert next_actions(View(depends_on=needs, phases=phases, max_parallel=1)) == ()
    assert next_actions(View(depends_on=needs, phases=phases)) == (Start("b"),)


def test_a_new_phase_of_a_release_is_one_row() -> None:
    page = release_page(RELEASE_COOLING, CanaryPhase.HOLDING)
    assert "is cooling down: " in page
    assert "**Next:** it gets warm." in page
    assert "cooling down" in str(release_badge(RELEASE_COOLING))
