"""The pages of the Temporal UI: what they offer is what is obeyed, and they fit an address."""

from __future__ import annotations

import re
from datetime import UTC, datetime

import pytest

from schemas.catalog import Catalog
from schemas.deploy import DeployRequested
from schemas.release import (
    CanaryInput,
    CanaryPhase,
    CanaryReport,
    Cause,
    CauseKind,
    Command,
    ReleasePhase,
    ReleasePlan,
    ReleaseStatus,
    ServiceStatus,
)
from schemas.verdict import Reason, Verdict, VerdictKind
from workflows import describe, pages
from workflows.board import Board
from workflows.commands import Word
from workflows.planning import plan_release

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MOST_BYTES = 4096
RUN = "01a200da-11ed-7ab3-a4bd-180d8b048b36"
MOVING = [phase for phase in CanaryPhase if phase not in {CanaryPhase.WAITING, CanaryPhase.SKIPPED}]
VERDICT = Verdict(
    kind=VerdictKind.PASS, reason=Reason.GOOD_ENOUGH, sentence="good | enough " * 20, at=NOW
)
CAUSE = Cause(kind=CauseKind.ALERT, service="s0", text="alert Errors\nfires | loudly " * 20, at=NOW)


def plan_of(count: int) -> ReleasePlan:
    names = [f"s{number}" for number in range(count)]
    document = {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}, "metrics": [], "strategy": "test"},
        "strategies": {
            "test": {"steps": [10, {"weight": 50, "gate": {"text": "look"}}], "bake": "5m"}
        },
        "services": {
            name: {"depends_on": [names[at - 1]] if at else []} for at, name in enumerate(names)
        },
    }
    services = [{"service": name, "version": "2.0"} for name in names]
    deploy = DeployRequested.model_validate({"release": "shop-42", "services": services})
    return plan_release(Catalog.model_validate(document), deploy)


def report(phase: CanaryPhase, *, paused: bool = False, step: int = 0) -> CanaryReport:
    return CanaryReport(
        service="s0",
        sequence=1,
        phase=phase,
        weight=10,
        step=step,
        steps=3,
        stable="1.9",
        waits_for="something",
        verdict=VERDICT,
        cause=CAUSE,
        paused=paused,
        at=NOW,
    )


def canary_page(phase: CanaryPhase, *, paused: bool = False, step: int = 0) -> str:
    start = CanaryInput(release="shop-42", plan=plan_of(1).services["s0"])
    return pages.canary(start, report(phase, paused=paused, step=step))


def release_page(
    phase: ReleasePhase, services: CanaryPhase, *, count: int = 3, paused: bool = False
) -> str:
    plan = plan_of(count)
    status = ReleaseStatus(
        release="shop-42",
        phase=phase,
        paused=paused,
        services=tuple(
            ServiceStatus(
                service=name,
                version="2.0",
                depends_on=one.depends_on,
                phase=services,
                stable="1.9",
                waits_for="a long wait " * 20,
                cause=CAUSE,
            )
            for name, one in plan.services.items()
        ),
        cause=CAUSE,
        started_at=NOW,
    )
    said = ["12:00:01 paused by ann: <b>wait</b> | `now`"] * 9
    return pages.release(status, plan, at=NOW, said=said, runs=dict.fromkeys(plan.services, RUN))


def offered(page: str) -> set[str]:
    """The commands that a page says may be given."""
    said = re.split(r"\*\*(?:You may|Now:)", page)[1:]
    return set(re.findall(r"`(\w+)`", said[0])) - {"service"} if said else set()


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("phase", MOVING)
def test_a_canary_offers_just_what_it_obeys(phase: CanaryPhase, *, paused: bool) -> None:
    paused = paused or phase is CanaryPhase.PAUSED
    obeyed = {
        word.value
        for word in Word
        if describe.canary_refusal(word, phase, paused=paused, at="") is None
    }
    assert offered(canary_page(phase, paused=paused)) == obeyed


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("phase", ReleasePhase)
@pytest.mark.parametrize("services", [CanaryPhase.BAKING, CanaryPhase.GATED, CanaryPhase.HOLDING])
def test_a_release_offers_just_what_it_obeys(
    phase: ReleasePhase, services: CanaryPhase, *, paused: bool
) -> None:
    plan = plan_of(3)
    board = Board(plan)
    for name in plan.services:
        board.set_phase(name, services)
    service = "s0" if phase is ReleasePhase.ROLLING_BACK else None
    obeyed = {
        word.value
        for word in Word
        if board.refusal(word, Command(service=service), phase, paused=paused) is None
    }
    assert offered(release_page(phase, services, paused=paused)) == obeyed


@pytest.mark.parametrize("phase", MOVING)
def test_a_canary_says_why_and_what_is_next(phase: CanaryPhase) -> None:
    page = canary_page(phase)
    assert page.splitlines()[0].startswith("### s0 2.0 ")
    assert "back because" in page
    assert "Last verdict:** PASS" in page
    assert ("**Next:**" in page) is not phase.closed
    assert len(page.encode()) < MOST_BYTES


@pytest.mark.parametrize(
    ("step", "says"), [(0, "50 % of the requests (step 2 of 3)"), (1, "a gate"), (2, "it holds")]
)
def test_a_bake_says_what_comes_after_it(step: int, says: str) -> None:
    assert f"**Next:** {says}" in canary_page(CanaryPhase.BAKING, step=step)


@pytest.mark.parametrize("phase", ReleasePhase)
@pytest.mark.parametrize("count", [1, 3, 200])
def test_a_release_page_fits_and_keeps_its_table(phase: ReleasePhase, count: int) -> None:
    page = release_page(phase, CanaryPhase.BAKING, count=count)
    assert len(page.encode()) < MOST_BYTES
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {4}


@pytest.mark.parametrize("phase", ReleasePhase)
def test_what_people_wrote_is_shown_as_it_is(phase: ReleasePhase) -> None:
    page = release_page(phase, CanaryPhase.BAKING)
    assert "<b>" not in page
    assert "&#60;b&#62;wait&#60;/b&#62;" in page
    assert "`now`" not in page


def test_trouble_is_shown_first_where_not_all_services_have_room() -> None:
    plan = plan_of(100)
    phases = {"s90": CanaryPhase.STUCK, "s95": CanaryPhase.GATED}
    services = tuple(
        ServiceStatus(
            service=name,
            version="2.0",
            depends_on=one.depends_on,
            phase=phases.get(name, CanaryPhase.HOLDING),
        )
        for name, one in plan.services.items()
    )
    status = ReleaseStatus(
        release="shop-42",
        phase=ReleasePhase.ROLLING_BACK,
        paused=False,
        services=services,
        started_at=NOW,
    )
    page = pages.release(status, plan, at=NOW, runs=dict.fromkeys(plan.services, RUN))
    assert "STUCK: s90" in page.splitlines()[0]
    assert "[s90]" in page
    assert "[s95]" in page
    assert page.index("[s90]") < page.index("[s95]")
    assert "and 80 more" in page
    assert "80 holding" in page
