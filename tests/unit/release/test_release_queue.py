"""The queue before the services: any order of events, any loss of memory."""

from __future__ import annotations

import time
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.admission import (
    AdmissionPolicy,
    AdmissionState,
    Answer,
    Answered,
    Ask,
    Busy,
    Entry,
)
from schemas.fitting import size_of
from workflows.release_queue import NEAR, REMEMBERED, ReleaseQueue

START = datetime(2026, 1, 1, tzinfo=UTC)
SUPERSEDE = AdmissionPolicy(busy=Busy.SUPERSEDE)
REJECT = AdmissionPolicy(busy=Busy.REJECT)
NEWEST = AdmissionPolicy(coalesce=True)


def entry(number: int, services: str, policy: AdmissionPolicy | None = None) -> Entry:
    since = START + timedelta(seconds=number)
    return Entry(
        release=f"r{number:03}",
        run=f"run-{number}",
        services=tuple(services),
        policy=policy or AdmissionPolicy(),
        since=since,
        place=since,
    )


def ask(queue: ReleaseQueue, *entries: Entry, holding: bool = False) -> dict[str, Answer]:
    said: dict[str, Answer] = {}
    for one in entries:
        assert queue.take(Ask(entry=one, holding=holding))
        said |= queue.settle(START)
    return said


def end(queue: ReleaseQueue, one: Entry) -> dict[str, Answer]:
    queue.leave(one.release, one.run)
    return queue.settle(START)


def words(said: dict[str, Answer]) -> dict[str, str]:
    return {release: answer.answered.value for release, answer in said.items()}


def test_first_come_first_served() -> None:
    queue = ReleaseQueue()
    one, two, three = entry(1, "ab"), entry(2, "b"), entry(3, "b")
    said = ask(queue, one, two, three)
    assert words(said) == {"r001": "admitted", "r002": "queued", "r003": "queued"}
    assert said["r003"].text == "release r001 to end (it has b)"
    said = end(queue, one)
    assert words(said) == {"r002": "admitted", "r003": "queued"}
    assert said["r003"].text == "release r002 to end (it has b)"
    assert words(end(queue, two)) == {"r003": "admitted"}


def test_only_what_shares_nothing_with_those_ahead_passes() -> None:
    queue = ReleaseQueue()
    said = ask(queue, entry(1, "a"), entry(2, "ab"), entry(3, "b"), entry(4, "c"))
    assert words(said) == {
        "r001": "admitted",
        "r002": "queued",
        "r003": "queued",
        "r004": "admitted",
    }
    assert said["r003"].text == "release r002 to go first (it wants b)"


def test_a_release_that_began_earlier_keeps_its_place_when_it_asks_later() -> None:
    queue = ReleaseQueue()
    ask(queue, entry(1, "a"), entry(3, "a"), entry(2, "a"))
    assert [one.release for one in queue.in_order()] == ["r002", "r003"]


def test_a_rejecting_release_names_who_has_the_service() -> None:
    queue = ReleaseQueue()
    said = ask(queue, entry(1, "b"), entry(2, "ab", REJECT))["r002"]
    assert (said.answered, said.service) == (Answered.BUSY, "b")
    assert said.text == "b is busy: release r001 has it"
    assert "r002" not in queue


def test_a_superseding_release_sends_the_older_ones_back_and_waits_for_them() -> None:
    queue = ReleaseQueue()
    one, other = entry(1, "ab"), entry(2, "c")
    ask(queue, one, other)
    said = ask(queue, entry(3, "a"), entry(4, "bc", SUPERSEDE))
    assert said.pop("r001").text == "release r004 takes its place"
    assert words(said) == {"r003": "queued", "r002": "superseded", "r004": "queued"}
    assert words(end(queue, one)) == {"r003": "admitted", "r004": "queued"}
    assert words(end(queue, other)) == {"r004": "admitted"}


def test_a_superseding_release_takes_the_place_of_those_that_wait() -> None:
    queue = ReleaseQueue()
    ask(queue, entry(1, "a", REJECT), entry(2, "ab"), entry(3, "b"))
    said = ask(queue, entry(4, "b", SUPERSEDE))
    assert words(said) == {"r002": "superseded", "r003": "superseded", "r004": "admitted"}


def test_a_release_that_waits_sends_nobody_back() -> None:
    queue = ReleaseQueue()
    ask(queue, entry(1, "ab"))
    assert words(ask(queue, entry(2, "b"))) == {"r002": "queued"}
    # Nor does one that would supersede, where it shares no service.
    assert words(ask(queue, entry(3, "c", SUPERSEDE))) == {"r003": "admitted"}
    assert "r001" in queue


def test_only_the_newest_of_the_same_services_stays_and_keeps_the_place() -> None:
    queue = ReleaseQueue()
    first = entry(1, "ab")
    ask(queue, first, entry(2, "ab", NEWEST), entry(3, "b", NEWEST))
    said = ask(queue, entry(4, "ba", NEWEST))
    assert words(said) == {"r002": "superseded", "r004": "queued"}
    assert [one.release for one in queue.in_order()] == ["r004", "r003"]
    assert words(end(queue, first))["r004"] == "admitted"


def test_a_double_claim_sends_the_later_one_back() -> None:
    queue = ReleaseQueue()
    ask(queue, entry(1, "ab"))
    said = ask(queue, entry(2, "bc"), entry(2, "bc"), holding=True)
    assert words(said) == {"r002": "busy"}
    assert said["r002"].text == "b is busy: release r001 has it"


def test_a_word_that_comes_after_the_end_changes_nothing() -> None:
    queue = ReleaseQueue()
    one = entry(1, "a")
    ask(queue, one)
    end(queue, one)
    assert not queue.take(Ask(entry=one))
    assert "r001" not in queue
    for number in range(2, REMEMBERED + 3):
        queue.leave(f"r{number}", f"run-{number}")
    assert len(queue.dump(AdmissionState()).left) == REMEMBERED


def test_a_reset_release_is_not_ended_by_its_earlier_run() -> None:
    queue = ReleaseQueue()
    one = entry(1, "a")
    again = one.model_copy(update={"run": "another"})
    ask(queue, one, again)
    assert end(queue, one) == {}
    assert "r001" in queue


POLICIES = st.builds(AdmissionPolicy, busy=st.sampled_from(list(Busy)), coalesce=st.booleans())
QUEUE = st.just(AdmissionPolicy())


class World:
    """Releases that do as they are told."""

    def __init__(self) -> None:
        self.queue = ReleaseQueue()
        self.known: dict[str, Entry] = {}
        self.running: set[str] = set()
        self.back: set[str] = set()
        self.over: set[str] = set()

    def arrive(self, one: Entry) -> None:
        self.known[one.release] = one
        self.queue.take(Ask(entry=one))
        self.settle()

    def settle(self) -> None:
        for release, answer in self.queue.settle(START).items():
            match answer.answered:
                case Answered.ADMITTED:
                    self.running.add(release)
                case Answered.BUSY | Answered.SUPERSEDED:
                    held = self.running if release in self.running else self.over
                    (self.back if held is self.running else self.over).add(release)
        self.check()

    def finish(self, release: str) -> None:
        self.running.discard(release)
        self.over.add(release)
        self.queue.leave(release, self.known[release].run)
        self.settle()

    def forget(self, order: Iterable[str]) -> None:
        """The admission is lost, and all say anew where they are, before it decides."""
        self.queue = ReleaseQueue()
        for release in order:
            ask = Ask(entry=self.known[release], holding=release in self.running)
            self.queue.take(ask)
        self.settle()

    def check(self) -> None:
        assert self.queue.settle(START) == {}, "decided twice"
        held = [one for release in self.running for one in self.known[release].services]
        assert len(held) == len(set(held)), "one service, two releases"
        assert self.running == set(self.queue.holding)
        ahead = list(self.queue.holding.values())
        for one in self.queue.in_order():
            assert any(other.clashes(one) for other in ahead), "waits for nobody"
            ahead.append(one)
        assert set(self.known) == self.running | set(self.queue.waiting) | self.over

    def alive(self) -> list[str]:
        return sorted(set(self.known) - self.over)


@pytest.mark.parametrize("policies", [QUEUE, POLICIES], ids=["queue", "any"])
@given(data=st.data())
def test_any_releases_in_any_order_all_end(
    policies: st.SearchStrategy[AdmissionPolicy], data: st.DataObject
) -> None:
    world = World()
    numbers = iter(data.draw(st.permutations(range(1, 9))))
    services = st.lists(st.sampled_from("abcd"), min_size=1, unique=True)
    for step in data.draw(st.lists(st.sampled_from(["arrive", "finish", "forget"]), max_size=20)):
        if step == "arrive" and (number := next(numbers, None)):
            wanted = "".join(data.draw(services))
            world.arrive(entry(number, wanted, data.draw(policies)))
        elif step == "finish" and world.alive():
            world.finish(data.draw(st.sampled_from(world.alive())))
        elif step == "forget":
            world.forget(data.draw(st.permutations(world.alive())))
    while alive := world.alive():
        assert world.running, "all wait: a deadlock"
        world.finish(data.draw(st.sampled_from(sorted(world.running))))
        assert len(world.alive()) < len(alive)
    assert world.queue.dump(AdmissionState()).told == {}


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, unique=True), max_size=8))
def test_what_is_carried_over_is_all(wanted: list[list[str]]) -> None:
    queue = ReleaseQueue()
    for number, services in enumerate(wanted):
        queue.take(Ask(entry=entry(number, "".join(services))))
    queue.settle(START)
    state = queue.dump(AdmissionState())
    again = ReleaseQueue(AdmissionState.model_validate_json(state.model_dump_json()))
    assert again.settle(START) == {}
    assert again.dump(AdmissionState()) == state


MANY = 5_000


def crowded() -> ReleaseQueue:
    queue = ReleaseQueue()
    for number in range(MANY):
        assert queue.take(Ask(entry=entry(number, "a")))
    queue.settle(START)
    return queue


def test_a_line_of_thousands_is_as_quick_as_an_empty_one() -> None:
    queue = crowded()
    began = time.perf_counter()
    for number in range(500):
        one = entry(MANY + number, "b")
        assert words(ask(queue, one)) == {one.release: "admitted"}
        end(queue, one)
        assert queue.take(Ask(entry=entry(2 * MANY + number, "a")))
        assert len(queue.settle(START)) == 1
    assert time.perf_counter() - began < 10  # each settled all of them before: some 10 minutes


def test_an_end_is_news_for_few_of_those_who_wait() -> None:
    queue = crowded()
    for number in range(50):
        said = end(queue, queue.holding[f"r{number:03}"])
        assert "admitted" in words(said).values()
        assert len(said) <= NEAR + 2
    nearest = queue.first(1)[0].release
    assert queue.holding.keys() == {"r050"}
    assert nearest == "r051"


def test_those_far_behind_are_told_whom_they_follow() -> None:
    queue = ReleaseQueue()
    ask(queue, entry(0, "a"))
    said = ask(queue, *(entry(number, "a") for number in range(1, 30)))
    assert said["r009"].text == "release r000 to end (it has a)"
    assert said["r025"].text == "release r024 to go first (it wants a)"


def test_what_a_release_waits_for_is_said_shortly() -> None:
    wanted = tuple(f"service-{number}" for number in range(1_000))
    queue = ReleaseQueue()
    first, second = (entry(n, "").model_copy(update={"services": wanted}) for n in (1, 2))
    said = ask(queue, first, second)["r002"]
    assert said.text == ("release r001 to end (it has service-0, service-1, service-2, 997 more)")


@given(st.lists(st.lists(st.sampled_from("abc"), min_size=1, unique=True), max_size=8))
def test_what_is_packed_is_all(wanted: list[list[str]]) -> None:
    queue = ReleaseQueue()
    for number, services in enumerate(wanted):
        queue.take(Ask(entry=entry(number, "".join(services))))
    queue.settle(START)
    state = queue.dump(AdmissionState(resynced=True))
    packed = AdmissionState.model_validate_json(state.pack().model_dump_json())
    assert packed.unpack() == state


def test_a_line_of_thousands_starts_another_run() -> None:
    queue = ReleaseQueue()
    for number in range(2 * MANY):
        one = entry(number, "a")
        queue.take(Ask(entry=one.model_copy(update={"run": str(uuid4())})))
    queue.settle(START)
    packed = queue.dump(AdmissionState(resynced=True)).pack()
    assert size_of(packed) < 1_500_000
    assert len(packed.unpack().waiting) == 2 * MANY - 1


def test_a_line_too_large_for_another_run_is_asked_anew() -> None:
    queue = crowded()
    packed = queue.dump(AdmissionState(resynced=True)).pack(most=10_000)
    assert size_of(packed) < 15_000
    again = packed.unpack()
    assert (len(again.holding), again.waiting, again.resynced) == (1, (), False)


def test_one_that_waits_is_told_who_has_its_services() -> None:
    queue = ReleaseQueue()
    one, two, three = entry(1, "ab"), entry(2, "c"), entry(3, "b")
    ask(queue, one, two, three)
    said = ask(queue, entry(4, "abc"))
    assert said["r004"].holders == ("r001", "r002"), "those that have them, not those that wait"
    assert ask(queue, entry(5, "a", REJECT))["r005"].holders == ("r001",)


def test_of_many_holders_some_are_named() -> None:
    queue = ReleaseQueue()
    letters = "abcdefghijklmnopqrstuvwxyz"
    ask(queue, *(entry(number, letter) for number, letter in enumerate(letters)))
    assert len(ask(queue, entry(99, letters))["r099"].holders) == 20
