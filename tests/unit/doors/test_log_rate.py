"""Callers from outside can't fill a disk with what is logged about them."""

from __future__ import annotations

import logging
import tracemalloc

from aviary.log_rate import CALLED_FROM_OUTSIDE, MOST, PER_S, RateFilter, limit_rates


def record(msg: object, level: int = logging.WARNING) -> logging.LogRecord:
    return logging.LogRecord("aviary.webhook", level, "file", 1, msg, None, None)


def test_of_one_kind_there_are_so_many_lines_and_then_their_number() -> None:
    now = 5.0
    limit = RateFilter(lambda: now)
    assert sum(limit.filter(record("Invalid HTTP request.")) for _ in range(500)) == MOST

    now += PER_S
    later = record("Invalid HTTP request.")
    assert limit.filter(later)
    assert vars(later)["left_out_before"] == 500 - MOST


def test_other_kinds_are_heard_meanwhile() -> None:
    limit = RateFilter(lambda: 0.0)
    for number in range(500):
        limit.filter(record({"event": "refused", "detail": number}))
    assert not limit.filter(record({"event": "refused", "detail": "another"}))
    assert limit.filter(record({"event": "kafka_away"}))
    assert limit.filter(record({"event": "refused"}, logging.ERROR))


def test_an_event_says_in_its_own_fields_what_was_left_out() -> None:
    now = 0.0
    limit = RateFilter(lambda: now)
    for _ in range(MOST + 3):
        limit.filter(record({"event": "refused"}))
    now = PER_S
    later = record({"event": "refused"})
    assert limit.filter(later)
    assert later.msg == {"event": "refused", "left_out_before": 3}


def test_texts_without_end_take_no_memory_without_end() -> None:
    limit = RateFilter(lambda: 0.0)
    for number in range(2000):
        limit.filter(record(f"{number} bytes"))
    tracemalloc.start()
    try:
        for number in range(2000, 10_000):
            limit.filter(record(f"{number} bytes"))
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept < 500_000, "eight thousand kinds would be more than two million bytes"


def test_each_logger_has_one_limit_however_often_it_is_set() -> None:
    limit_rates()
    limit_rates()
    for name in CALLED_FROM_OUTSIDE:
        found = [each for each in logging.getLogger(name).filters if isinstance(each, RateFilter)]
        assert len(found) == 1
