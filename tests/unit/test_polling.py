"""Whether the queues are polled, by counts alone and a clock that the test turns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry

from adapters.errors import Retryable
from aviary.polling import ENDS_AFTER_S, PolledQueue, Polling, Sample, Work, polled_queues

QUEUE, OTHER = PolledQueue("aviary", Work.WORKFLOWS), PolledQueue("aviary-judging", Work.ACTIVITIES)
FINE = Sample(open=5, busy=False, answered=0, refused=0)


class EndOfTest(Exception):  # noqa: N818 - no error
    """Nothing has come to an end until then."""


class Watched:
    """Two queues, and time that passes when the test says so."""

    def __init__(self) -> None:
        self.counts = {QUEUE: FINE, OTHER: FINE}
        self.now = 0.0
        self.ends_at = 10_000.0
        self.each_second: Callable[[], None] = lambda: None
        self.registry = CollectorRegistry()
        self.polling = Polling(
            list(self.counts),
            lambda polled: self.counts[polled],
            lambda: self.now,
            self.sleep,
            self.registry,
        )

    async def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.each_second()
        if self.now > self.ends_at:
            raise EndOfTest

    def polled(self, polled: PolledQueue) -> float | None:
        """What the metric says of a lane."""
        labels = {"queue": polled.queue, "work": polled.work.value}
        return self.registry.get_sample_value("aviary_queue_polled", labels)

    def pass_by(
        self, seconds: int, polled: PolledQueue = OTHER, *, refused: int = 0, answered: int = 0
    ) -> str:
        """Every second brings the queue so many refusals and answers, and the other one answer."""
        for _ in range(seconds):
            self.now += 1
            for each, now in self.counts.items():
                mine = each == polled
                self.counts[each] = replace(
                    now,
                    refused=now.refused + (refused if mine else 0),
                    answered=now.answered + (answered if mine else 1),
                    reason="PERMISSION_DENIED",
                )
            self.polling.look()
        return self.polling.trouble()


def test_a_worker_watches_both_sorts_of_polls_of_all_its_queues() -> None:
    assert [str(polled) for polled in polled_queues("aviary")] == [
        "queue aviary (workflows)",
        "queue aviary (activities)",
        "queue aviary-judging (activities)",
        "queue aviary-effects (activities)",
        "queue aviary-waiting (activities)",
        "queue aviary-deploying (activities)",
    ]


@pytest.mark.parametrize("polled", [QUEUE, OTHER])
def test_one_queue_that_is_refused_is_named_with_the_servers_word(polled: PolledQueue) -> None:
    watched = Watched()
    assert watched.pass_by(30, polled, answered=1) == ""
    assert (
        watched.pass_by(10, polled, refused=1) == f"{polled}: polls are refused (PERMISSION_DENIED)"
    )
    with pytest.raises(Retryable, match=polled.queue):
        watched.polling.check()


def test_a_single_refusal_is_passing_trouble() -> None:
    watched = Watched()
    watched.pass_by(1, refused=1)
    assert watched.pass_by(20) == ""


def test_refusals_between_answers_are_passing_trouble() -> None:
    watched = Watched()
    for _ in range(20):
        watched.pass_by(2, refused=3)
        assert watched.pass_by(1, answered=1, refused=1) == ""


def test_answers_of_the_sticky_queue_say_nothing_of_a_queue_that_is_denied() -> None:
    """A worker with work at hand: what runs on it goes on, and nothing new would ever begin."""
    watched = Watched()
    watched.pass_by(1, QUEUE, answered=1)
    for _ in range(5):
        watched.pass_by(5, QUEUE, answered=3)
        watched.counts[QUEUE] = replace(watched.counts[QUEUE], denied=watched.now)
        watched.pass_by(1, QUEUE, refused=1, answered=3)
    said = watched.pass_by(3, QUEUE, answered=3)
    assert said == f"{QUEUE}: polls are refused (PERMISSION_DENIED)"
    assert watched.pass_by(20, QUEUE, answered=3) == ""


def test_a_poll_that_is_not_refused_any_more_is_polling() -> None:
    """An idle queue has no answer for up to a minute after the server takes its polls again."""
    watched = Watched()
    assert watched.pass_by(60, refused=1)
    assert watched.pass_by(12), "the next refusal may be on its way"
    assert watched.pass_by(5) == ""


def test_polls_that_nobody_answers() -> None:
    watched = Watched()
    assert watched.pass_by(95) == ""
    assert watched.pass_by(10) == f"{OTHER}: polls are not answered"
    assert watched.pass_by(1, answered=1) == ""


def test_no_open_poll() -> None:
    watched = Watched()
    watched.counts[OTHER] = replace(FINE, open=0)
    assert watched.pass_by(1) == f"{OTHER}: no poll is open"


def test_each_lane_has_a_metric_that_says_whether_it_is_polled() -> None:
    watched = Watched()
    watched.pass_by(1)
    assert [watched.polled(QUEUE), watched.polled(OTHER)] == [1, 1]
    watched.counts[OTHER] = replace(FINE, open=0)
    watched.pass_by(1)
    assert [watched.polled(QUEUE), watched.polled(OTHER)] == [1, 0]
    watched.counts[OTHER] = replace(FINE, answered=9)
    watched.pass_by(1)
    assert [watched.polled(QUEUE), watched.polled(OTHER)] == [1, 1]


def test_who_has_taken_every_slot_need_not_poll() -> None:
    watched = Watched()
    watched.counts[OTHER] = replace(FINE, open=0, busy=True)
    assert watched.pass_by(500) == ""


def test_a_process_that_was_frozen_is_not_judged_by_that() -> None:
    watched = Watched()
    watched.pass_by(90)
    watched.now += 3600
    assert watched.pass_by(1) == ""


async def nothing() -> None:
    """Temporal is there."""


async def away() -> None:
    """Temporal is not there."""
    raise Retryable("Temporal: away")


async def test_a_queue_that_is_not_polled_ends_the_process_after_a_time() -> None:
    watched = Watched()
    watched.counts[OTHER] = replace(FINE, open=0)
    why = await watched.polling.run(nothing)
    assert "queue aviary-judging (activities): no poll is open" in why
    assert ENDS_AFTER_S < watched.now < ENDS_AFTER_S + 10


async def test_without_temporal_it_ends_nothing() -> None:
    watched = Watched()
    watched.counts[OTHER] = replace(FINE, open=0)
    watched.ends_at = 10 * ENDS_AFTER_S
    with pytest.raises(EndOfTest):
        await watched.polling.run(away)


async def test_time_without_polls_is_counted_anew_after_each_recovery() -> None:
    watched = Watched()
    watched.ends_at = 10 * ENDS_AFTER_S

    def half_of_the_time() -> None:
        answers = watched.now % ENDS_AFTER_S > ENDS_AFTER_S / 2
        for polled in watched.counts:
            watched.counts[polled] = replace(FINE, open=5 if answers else 0, answered=watched.now)

    watched.each_second = half_of_the_time
    with pytest.raises(EndOfTest):
        await watched.polling.run(nothing)
