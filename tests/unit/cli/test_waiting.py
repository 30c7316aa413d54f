"""What waits for a person: in lists and states, with the command that ends it."""

from __future__ import annotations

import pytest

from aviary.cli.tables import found_as_data, print_found, print_status, told
from aviary.cli.ways import may
from aviary.releases.finding import Filters
from aviary.releases.remote import Found
from schemas.release import (
    CanaryPhase,
    Cause,
    CauseKind,
    ReleasePhase,
    ReleaseStatus,
    ServiceStatus,
)
from tests.unit.cli import looks
from tests.unit.cli.looks import START, release, service

PAUSED = service("cart", CanaryPhase.PAUSED, waits_for="resume: paused by ann: lunch")
STUCK = service("cart", CanaryPhase.STUCK, waits_for="the router, still tried")
HELD = service(
    "cart", CanaryPhase.PREFLIGHT, waits_for="alerts on cart to end: X", ends_by=("approve", "skip")
)
WAITS = [
    (release(looks.CART), "cart waits for approval: has support been told?", ["approve"]),
    (release(PAUSED), "cart waits for resume: paused by ann: lunch", ["resume"]),
    (release(HELD), "cart waits for alerts on cart to end: X", ["approve", "skip"]),
    (release(looks.LEDGER, paused=True), "paused", ["resume"]),
    (release(STUCK), "cart waits for the router, still tried", []),
]
GOES_ON = [
    release(looks.CHECKOUT),
    release(looks.LEDGER, looks.SHOP),
    release(looks.SHOP, phase=ReleasePhase.QUEUED, waits_for="shop-41 to end"),
    release(looks.CART, phase=ReleasePhase.FINALIZED, finished_at=START),
]


def found(
    status: ReleaseStatus | None,
    execution: str = "running",
    planned: dict[str, str] | None = None,
    *,
    running: bool = False,
) -> Found:
    return Found("shop-42", execution, START, status, planned or {}, running)


def listed(one: Found, capsys: pytest.CaptureFixture[str]) -> str:
    print_found([one])
    return capsys.readouterr().out.splitlines()[1]


@pytest.mark.parametrize(("status", "why", "words"), WAITS)
def test_a_list_can_be_asked_for_what_waits_for_a_person(
    capsys: pytest.CaptureFixture[str], status: ReleaseStatus, why: str, words: list[str]
) -> None:
    assert Filters(waiting=True).matches(status)
    assert why in listed(found(status), capsys)
    assert why in found_as_data(found(status))["waits_for"]
    (said,) = may(status, {})
    assert [word for word in words if f" {word}" not in said] == []


@pytest.mark.parametrize("status", GOES_ON)
def test_what_goes_on_by_itself_is_not_among_them(status: ReleaseStatus) -> None:
    assert not Filters(waiting=True).matches(status)


def test_one_that_does_not_answer_is_among_them_and_shown_as_not_known(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert Filters(waiting=True).matches(None)
    silent = found(None, "running", {"shop": "2.0", "cart": "1.1"}, running=True)
    line = listed(silent, capsys)
    assert "shop=2.0 cart=1.1" in line
    assert "not known: no worker has answered" in line
    assert found_as_data(silent)["services"] == {"shop": "2.0", "cart": "1.1"}
    assert found_as_data(silent)["answers"] is False


def test_one_that_was_terminated_has_nobody_who_could_answer(
    capsys: pytest.CaptureFixture[str],
) -> None:
    line = listed(found(None, "terminated", {"shop": "2.0"}), capsys)
    assert "terminated" in line
    assert "shop=2.0" in line
    assert "answered" not in line


def test_waiting_is_asked_of_what_runs_only() -> None:
    assert "ExecutionStatus = 'Running'" in Filters(waiting=True).query()


@pytest.mark.parametrize(("status", "why", "words"), WAITS)
def test_a_state_names_the_commands(
    capsys: pytest.CaptureFixture[str], status: ReleaseStatus, why: str, words: list[str]
) -> None:
    print_status(status, {})
    out = capsys.readouterr().out
    assert "You may: " in out
    for word in (*words, "rollback"):
        assert word in out.splitlines()[-1]
    assert why.rsplit("waits for ", maxsplit=1)[-1] in out


def test_a_queued_release_can_leave_the_line() -> None:
    status = release(looks.SHOP, phase=ReleasePhase.QUEUED, waits_for="shop-41 to end")
    assert may(status, {}) == [
        "You may: pause, rollback (leaves the queue); `aviary release WORD shop-42`"
    ]


def test_a_release_that_goes_back_offers_only_what_it_takes() -> None:
    cause = Cause(kind=CauseKind.COMMAND, text="x", at=START)
    back = release(STUCK, phase=ReleasePhase.ROLLING_BACK, cause=cause)
    assert may(back, {}) == ["Nothing is left to decide: the release is rolling back."]
    asked = STUCK.model_copy(update={"ends_by": ("keep",)})
    back = release(asked, phase=ReleasePhase.ROLLING_BACK, cause=cause)
    assert "`aviary release keep shop-42 --service cart`" in may(back, {})[0]


def test_a_rollback_that_fails_says_on_what_beside_why_it_goes_back() -> None:
    waits = "the router to confirm; last failure: Read-only file system"
    cause = Cause(kind=CauseKind.COMMAND, text="rolled back by ann", at=START)
    for phase in (CanaryPhase.ROLLING_BACK, CanaryPhase.STUCK):
        one = ServiceStatus(
            service="cart",
            version="1",
            depends_on=(),
            phase=phase,
            waits_for=waits,
            cause=cause,
        )
        assert told(one, None) == f"rolled back by ann; waits for {waits}"
