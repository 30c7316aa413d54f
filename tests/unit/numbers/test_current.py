"""What the exporter shows: where each service is, DORA's four, and nothing of what has ended."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

import pytest
from prometheus_client import CollectorRegistry

from aviary.numbers import current as shown
from aviary.numbers.current import SHOWN_AFTER, SILENT, current, delivery
from aviary.numbers.run import Exporter
from aviary.numbers.told import Told
from schemas.phases import CanaryPhase, ReleasePhase
from tests.unit.numbers.telling import BEGAN, Telling, after, plain


def told_of(*releases: Telling) -> Told:
    told = Told()
    for one in plain(*releases):
        told.take(one)
    return told


def samples(told: Told, at: datetime) -> dict[str, dict[tuple[str, ...], float]]:
    """Values by the values of their labels but for the environment, by name."""
    return {
        metric.name.removeprefix("aviary_"): {
            tuple(v for k, v in one.labels.items() if k != "environment"): one.value
            for one in metric.samples
        }
        for metric in (*current(told, at), *delivery(told, at))
    }


def bakes(release: str, at: float = 0.0, service: str = "checkout") -> Telling:
    verdict = {"kind": "PASS", "reason": "good_enough"}
    one = Telling(release, at, services={service: "2"}).at(ReleasePhase.RUNNING)
    one.wait(10).canary(CanaryPhase.SHIFTING, 5, service, verdict=verdict)
    return one.wait(5).canary(CanaryPhase.BAKING, 25, service, verdict=verdict)


def test_a_canary_is_where_its_last_event_says() -> None:
    found = samples(told_of(bakes("a")), after(20))
    assert found["canary_info"] == {("checkout", "a", "2", "1"): 1}
    assert found["canary_weight_percent"] == {("checkout",): 25}
    assert found["canary_phase"] == {("checkout", "baking", "work"): 1}
    assert found["canary_phase_since_seconds"] == {("checkout",): after(15).timestamp()}
    assert found["canary_verdict"] == {("checkout", "PASS", "good_enough"): 1}
    assert found["canaries_left_out"] == {(): 0}


def test_what_has_ended_is_shown_for_a_scrape_and_then_no_more() -> None:
    told = told_of(Telling("a").finalized())
    ended = after(100)
    last = samples(told, ended + SHOWN_AFTER - timedelta(seconds=1))
    assert last["canary_phase"] == {("checkout", "finalized", "work"): 1}
    gone = samples(told, ended + SHOWN_AFTER)
    assert not any(values for name, values in gone.items() if name.startswith("canary_"))
    assert gone["dora_deployments"] == {("deployed",): 1, ("rolled_back",): 0, ("reverted",): 0}


def test_a_release_whose_end_nobody_told_goes_as_well() -> None:
    told = told_of(bakes("a"))
    assert samples(told, after(15) + SILENT - timedelta(seconds=1))["canary_info"]
    assert not samples(told, after(15) + SILENT)["canary_info"]


def test_the_next_release_of_a_service_takes_its_place_at_once() -> None:
    found = samples(told_of(Telling("a").finalized(), bakes("b", 110)), after(130))
    assert found["canary_info"] == {("checkout", "b", "2", "1"): 1}


def test_no_more_is_shown_than_there_is_room_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shown, "CANARIES_MOST", 3)
    monkeypatch.setattr(shown, "ENVIRONMENTS_MOST", 2)
    told = told_of(*(bakes(f"r{n}", n, f"s{n}") for n in range(5)))
    found = samples(told, after(30))
    assert {key[0] for key in found["canary_info"]} == {"s2", "s3", "s4"}
    assert found["canaries_left_out"] == {(): 2}
    ended = told_of(*(Telling(f"r{n}", n, environment=f"e{n}").finalized() for n in range(4)))
    (count, *_) = delivery(ended, after(300))
    assert {one.labels["environment"] for one in count.samples} == {"e0", "e1"}


def test_what_is_not_known_has_no_sample() -> None:
    found = samples(told_of(bakes("a")), after(20))
    assert found["dora_lead_time_seconds"] == found["dora_time_to_restore_seconds"] == {}
    assert found["dora_change_failure_rate"] == {}


def test_doras_four_are_those_of_the_last_30_days() -> None:
    labels = {"commit_time": after(-500).isoformat()}
    told = told_of(Telling("a", labels=labels).finalized(), Telling("b", 200).rolled_back())
    found = samples(told, after(1000))
    assert found["dora_lead_time_seconds"] == {("0.5",): 600, ("0.9",): 600}
    assert found["dora_time_to_restore_seconds"] == {("0.5",): 4, ("0.9",): 4}
    assert found["dora_change_failure_rate"] == {(): 0.5}
    assert found["dora_deployments_per_day"] == {(): pytest.approx(1 / 30)}
    assert found["dora_time_spent_seconds"][("people",)] == 40
    later = samples(told, after(100) + shown.SPAN + timedelta(seconds=1))
    assert later["dora_deployments"][("deployed",)] == 0


class Moments:
    """A clock that stands until it is moved."""

    def __init__(self) -> None:
        self.s = 0.0

    def clock(self) -> float:
        return self.s

    def now(self) -> datetime:
        return after(self.s)


@pytest.fixture
def moments() -> Moments:
    return Moments()


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
def exporter(registry: CollectorRegistry, moments: Moments) -> Exporter:
    return Exporter(registry, moments.now, moments.clock)


def records(one: Telling) -> Iterator[bytes]:
    return (each.wire() for each in one.events)


def spent(registry: CollectorRegistry, phase: str, on: str) -> float | None:
    return registry.get_sample_value("aviary_phase_seconds_sum", {"phase": phase, "spent_on": on})


def test_time_is_counted_once_it_is_told_and_not_when_it_is_read_again(
    exporter: Exporter, registry: CollectorRegistry
) -> None:
    exporter.take(list(records(Telling("a").finalized())), fresh=False)
    assert spent(registry, "gated", "people") == 0
    exporter.take(list(records(Telling("b", 200).finalized())), fresh=True)
    assert spent(registry, "gated", "people") == 40
    assert spent(registry, "baking", "work") == 50
    exporter.take([*records(Telling("b", 200).finalized()), None, b"junk"], fresh=True)
    assert spent(registry, "gated", "people") == 40


def test_all_series_of_times_are_there_from_the_beginning(
    exporter: Exporter, registry: CollectorRegistry
) -> None:
    for phase in CanaryPhase:
        assert (spent(registry, phase.value, phase.waiting.value) is None) == phase.closed


def test_what_is_shown_is_renewed_each_second_and_hidden_while_nothing_is_known(
    exporter: Exporter, registry: CollectorRegistry, moments: Moments
) -> None:
    weight = {"environment": "production", "service": "checkout"}

    def shown_weight() -> float | None:
        return registry.get_sample_value("aviary_canary_weight_percent", weight)

    one = bakes("a")
    exporter.take(list(records(one)), fresh=True)
    assert shown_weight() is None
    moments.s = 20
    exporter.show()
    assert shown_weight() == 25
    one.wait(5).canary(CanaryPhase.BAKING, 50)
    exporter.take([one.events[-1].wire()], fresh=True)
    moments.s += 0.5
    exporter.show()
    assert shown_weight() == 25
    moments.s += 0.5
    exporter.show()
    assert shown_weight() == 50
    exporter.hide()
    assert shown_weight() is None
    exporter.show()
    assert shown_weight() == 50
    assert moments.now() >= BEGAN
