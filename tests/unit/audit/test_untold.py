"""What a canary tells its release of decisions and counts: each once, though told several times."""

from __future__ import annotations

from datetime import datetime, timedelta

from schemas.decisions import NEWEST, OUTCOME_MOST, DecisionRecord, Did
from schemas.decisions import Heard as Kind
from schemas.measured import MEASURED_BYTES, MEASURED_MOST, Measured
from tests.unit.audit.chains import BEGAN
from workflows.untold import Heard, Untold


def records(count: int, *, began: datetime = BEGAN) -> tuple[DecisionRecord, ...]:
    """Two in each second."""
    return tuple(
        DecisionRecord(
            number=number,
            at=began + timedelta(seconds=number // 2),
            heard=Kind.ALERT,
            did=Did.RECORDED,
        )
        for number in range(count)
    )


def measure(untold: Untold, series: dict[str, object] | None = None) -> None:
    untold.measure(series or {"at": [0]}, at=BEGAN, stable="1", weight=5)


def numbers(several: tuple[Measured, ...] | list[Measured]) -> list[int]:
    return [one.number for one in several]


def test_a_report_carries_what_was_not_told_and_the_newest() -> None:
    untold = Untold()
    assert untold.decisions(records(10)) == records(10)
    assert untold.decisions(records(10)) == records(10), "a report that rides may be lost"
    untold.told(records(10))
    assert untold.decisions(records(10)) == records(10)[-NEWEST:]
    assert untold.decisions(records(30)) == records(30)[-OUTCOME_MOST:]
    assert untold.decisions(()) == ()


def test_counts_are_carried_until_they_are_told_and_no_more_than_a_few() -> None:
    untold = Untold()
    for _ in range(MEASURED_MOST + 2):
        measure(untold)
    assert numbers(untold.measured) == [2, 3, 4], "numbers show that two were left out"
    untold.told(())
    assert untold.measured == ()
    measure(untold)
    assert numbers(untold.measured) == [5]
    again = Untold(untold.measured, untold.number)
    measure(again)
    assert numbers(again.measured) == [5, 6], "in the next run of the canary"


def test_counts_that_are_too_long_are_left_out_and_the_bake_is_told() -> None:
    untold = Untold()
    measure(untold, {"at": [0.25] * MEASURED_BYTES})
    assert untold.measured[0].series is None


def test_a_release_hears_each_once() -> None:
    heard = Heard()
    told = [*heard.new_decisions(records(3)), *heard.new_decisions(records(5))]
    told += heard.new_decisions(records(5))
    assert told == list(records(5))
    untold = Untold()
    measure(untold)
    assert numbers(heard.new_measured(untold.measured)) == [0]
    assert heard.new_measured(untold.measured) == []
    measure(untold)
    assert numbers(heard.new_measured(untold.measured)) == [1]


def test_a_canary_that_counts_from_the_beginning_again_is_heard() -> None:
    heard = Heard()
    heard.new_decisions(records(5))
    anew = records(2, began=BEGAN + timedelta(minutes=1))
    assert heard.new_decisions(anew) == list(anew)
