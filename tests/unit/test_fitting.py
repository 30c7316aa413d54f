"""What is too large is cut until it fits, whatever is long in it."""

from __future__ import annotations

import string
from collections import deque
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import Alert, AlertStatus
from schemas.event_kinds import EventType
from schemas.events import CloudEvent, event
from schemas.fitting import fit, fitted, size_of
from schemas.release import (
    STATUS_BYTES,
    CanaryPhase,
    Cause,
    CauseKind,
    Command,
    ReleasePhase,
    ReleaseStatus,
    ServiceStatus,
)
from schemas.verdict import Counts, MetricEvidence, Reason, Verdict, VerdictKind
from workflows.outbox import BATCH_BYTES, EVENT_BYTES, batch, fitting

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NONE = Counts(bad=0, total=0, rate=None)
MOST = 16 * 1024
JSON = st.recursive(
    st.none() | st.integers() | st.text(max_size=5_000),
    lambda inner: st.lists(inner, max_size=300) | st.dictionaries(st.text(), inner),
    max_leaves=40,
)


def verdict(metrics: int = 0, length: int = 10) -> Verdict:
    evidence = MetricEvidence(
        name="errors",
        canary=NONE,
        stable=NONE,
        e_value=1,
        threshold=20,
        upper_bound=None,
        tolerance=None,
        intervals=0,
        since=None,
        until=None,
        note="n" * length,
    )
    return Verdict(
        kind=VerdictKind.FAIL,
        reason=Reason.OVER_LIMIT,
        sentence="s" * length,
        metrics=(evidence,) * metrics,
        at=NOW,
    )


def cause(**more: Any) -> Cause:
    return Cause(kind=CauseKind.ALERT, text="t" * 5_000, at=NOW, **more)


@given(JSON)
def test_nothing_is_changed_that_fits(document: Any) -> None:
    assert fit(document, size_of(document)) == document


@pytest.mark.parametrize(
    "document",
    [
        "x" * 10**6,
        {"label" * 10_000: "value" * 10_000},
        {f"l{n}": "v" for n in range(100_000)},
        [["x" * 300] * 300] * 10,
        {"a": {"b": ["\u20ac" * 9_999] * 50}},
        "\x00" * 10**5,
    ],
)
def test_whatever_is_long_is_cut(document: Any) -> None:
    assert size_of(fit(document, MOST)) <= 24 * 24 * 1500
    assert size_of(fit(fit(document, MOST), MOST)) <= size_of(fit(document, MOST))


def test_a_model_stays_one() -> None:
    alert = Alert.model_construct(
        status=AlertStatus.FIRING,
        fingerprint="f" * 10**6,
        labels={f"l{n}": "v" * 900 for n in range(1_000)},
        annotations={"summary": "s" * 10**6},
        starts_at=NOW,
        ends_at=None,
        generator_url="",
        external_url="u" * 60_000,
    )
    small = fitted(alert, MOST)
    assert isinstance(small, Alert)
    assert size_of(small) <= MOST
    whole = fitted(verdict(metrics=500, length=2_000), MOST)
    assert (whole.kind, size_of(whole) <= 2 * MOST) == (VerdictKind.FAIL, True)


@pytest.mark.parametrize("value", ["x" * 10**6, ["x"] * 10**6, {"by": "b" * 10**6, "reason": 7}])
def test_a_command_is_small_whatever_was_sent(value: Any) -> None:
    assert size_of(Command.of(value)) < 5_000


@pytest.mark.parametrize("services", [1, 1_000])
def test_a_status_has_every_service_and_fits(services: int) -> None:
    status = ReleaseStatus(
        release="r",
        phase=ReleasePhase.ROLLED_BACK,
        paused=False,
        started_at=NOW,
        services=tuple(
            ServiceStatus(
                service=f"s{number}",
                version="v" * 128,
                depends_on=tuple(f"s{one}" for one in range(number)),
                phase=CanaryPhase.ROLLED_BACK,
                waits_for="w" * 3_000,
                verdict=verdict(metrics=8, length=900),
                cause=cause(verdict=verdict(metrics=8, length=900)),
            )
            for number in range(services)
        ),
    )
    small = status.fitting()
    assert [one.service for one in small.services] == [one.service for one in status.services]
    assert size_of(small) <= STATUS_BYTES
    assert (small == status) is (services == 1)


def told(number: int, **data: Any) -> CloudEvent:
    kind = EventType.RELEASE_STARTED
    return event("release/r", number, kind, release="r", subject="r", time=NOW, data=data)


def test_an_event_of_a_huge_release_still_names_its_services() -> None:
    names = [f"{string.ascii_lowercase}-{n}" for n in range(1_000)]
    needs = {name: tuple(names[:at]) for at, name in enumerate(names)}
    small = fitting(told(0, release="r", services=dict.fromkeys(names, "2"), depends_on=needs))
    assert size_of(small.data) <= EVENT_BYTES
    assert len(small.data["services"]) == len(names)
    assert small.data["depends_on"] == {}


def test_batches_are_split_by_size_and_in_order() -> None:
    events = deque(told(number, text="x" * 100_000) for number in range(20))
    wanted = [one.id for one in events]
    batches = []
    while events:
        batches.append(batch(events))
    assert [one.id for each in batches for one in each.events] == wanted
    assert all(size_of(each) <= BATCH_BYTES + 1_000 for each in batches)
    assert len(batches) > 2


def test_one_event_is_a_batch_however_large() -> None:
    assert len(batch(deque([told(0, text="x" * 10**6)])).events) == 1
