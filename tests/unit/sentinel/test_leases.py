"""When a lease is over, and in which order canaries are taken back."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from adapters.ports import Leased
from aviary.sentinel.leases import Key, Watched, due, looked
from schemas.route import Route

LEASE = 60.0
NAMES = ("a", "b", "c", "d", "e")


def leased(
    service: str, renewal: str = "", generation: int = 1, owner: str = "r", lease: float = LEASE
) -> Leased:
    length = timedelta(seconds=lease)
    route = Route.split(service, "1", "2", 10, generation=generation, owner=owner, lease=length)
    return Leased(route, renewal)


def order(watch: Mapping[Key, Watched], now: float, needs: Mapping[str, list[str]]) -> list[str]:
    return ["".join(one.key.service for one in wave) for wave in due(watch, now, needs)]


def test_a_lease_that_is_seen_for_the_first_time_begins_then() -> None:
    watch = looked({}, {Key("a", 0): leased("a", "old")}, 1000.0)
    assert order(watch, 1059.9, {"a": []}) == []
    assert order(watch, 1060.0, {"a": []}) == ["a"]


def test_a_renewal_and_a_write_are_signs_of_life_and_the_same_again_is_none() -> None:
    key = Key("a", 0)
    watch = looked({}, {key: leased("a", "x")}, 0.0)
    watch = looked(watch, {key: leased("a", "x")}, 50.0)
    assert watch[key].since == 0.0
    watch = looked(watch, {key: leased("a", "y")}, 55.0)
    assert watch[key].since == 55.0
    watch = looked(watch, {key: leased("a", "y", generation=2)}, 70.0)
    assert watch[key].since == 70.0
    assert looked(watch, {}, 80.0) == {}


def test_what_needs_a_silent_service_goes_before_it_and_only_what_its_release_has() -> None:
    needs = {"a": ["b"], "b": ["c"], "c": [], "d": ["c"]}
    now = 100.0
    watch = {
        Key("a", 0): Watched(leased("a"), 90.0),
        Key("c", 1): Watched(leased("c"), 0.0),
        Key("d", 0): Watched(leased("d", owner="another"), 90.0),
    }
    waves = due(watch, now, needs)
    assert [[one.key.service for one in wave] for wave in waves] == [["a"], ["c"]]
    assert waves[1][0].why == "the sentinel took it back: no sign of life for 1m40s"
    assert "c, which it needs, gave no sign of life for 1m40s" in waves[0][0].why


def test_services_that_need_each_other_go_at_once() -> None:
    needs = {"a": ["b"], "b": ["a"], "c": ["a"]}
    watch = {Key(one, 0): Watched(leased(one), 0.0) for one in "abc"}
    assert order(watch, 60.0, needs) == ["c", "ab"]


def test_each_router_of_a_service_has_a_lease_of_its_own() -> None:
    watch = {
        Key("a", 0): Watched(leased("a"), 0.0),
        Key("a", 1): Watched(leased("a"), 30.0),
    }
    assert [one.key.router for wave in due(watch, 60.0, {"a": []}) for one in wave] == [0]


def test_a_service_that_the_catalog_does_not_have_any_more_goes_as_well() -> None:
    watch = {Key("gone", 0): Watched(leased("gone"), 0.0)}
    assert order(watch, 60.0, {"a": []}) == ["gone"]


graphs = st.fixed_dictionaries(
    {one: st.lists(st.sampled_from(NAMES), max_size=3, unique=True) for one in NAMES}
)
watches = st.dictionaries(
    st.builds(Key, st.sampled_from(NAMES), st.integers(0, 1)),
    st.tuples(st.floats(0, 200), st.sampled_from(["r", "s"])),
    max_size=8,
)


def _watch(drawn: Mapping[Key, tuple[float, str]]) -> dict[Key, Watched]:
    return {
        key: Watched(leased(key.service, owner=owner), since)
        for key, (since, owner) in drawn.items()
    }


def _reaches(graph: Mapping[str, list[str]], start: str, end: str) -> bool:
    ahead, seen = [start], set[str]()
    while ahead:
        for need in graph.get(ahead.pop(), ()):
            if need == end:
                return True
            if need not in seen:
                seen.add(need)
                ahead.append(need)
    return False


@given(graphs, watches, st.floats(0, 300))
def test_all_that_is_over_goes_once_and_no_service_before_those_that_need_it(
    graph: dict[str, list[str]], drawn: dict[Key, tuple[float, str]], now: float
) -> None:
    watch = _watch(drawn)
    waves = due(watch, now, graph)
    places = {one.key: at for at, wave in enumerate(waves) for one in wave}
    assert len(places) == sum(map(len, waves)), "each once"
    over = {key for key, one in watch.items() if one.is_over(now)}
    assert over <= places.keys()
    for key in places:
        owner = watch[key].route.owner
        because = [
            other
            for other in over
            if watch[other].route.owner == owner and _reaches(graph, key.service, other.service)
        ]
        assert key in over or because, "nothing that is alive by itself goes without a reason"
    for one, place in places.items():
        for other in watch.keys() - {one}:
            same = watch[one].route.owner == watch[other].route.owner
            needs = _reaches(graph, other.service, one.service)
            back = _reaches(graph, one.service, other.service)
            if same and needs and one in over:
                assert other in places
            if other in places and needs and not back:
                assert places[other] < place, "dependents first"


@given(st.lists(st.tuples(st.floats(0.1, 30), st.booleans()), min_size=1, max_size=30))
def test_who_renews_in_time_is_never_taken_back_and_who_does_not_is_in_time(
    looks: list[tuple[float, bool]],
) -> None:
    key, now, last, renewal = Key("a", 0), 0.0, 0.0, 0
    watch = looked({}, {key: leased("a", "0")}, now)
    for pause, renews in looks:
        now += pause
        if renews:
            renewal, last = renewal + 1, now
        watch = looked(watch, {key: leased("a", str(renewal))}, now)
        assert bool(due(watch, now, {})) == (now - last >= LEASE)


@given(watches, st.floats(-1e6, 1e6), st.floats(0, 300))
def test_only_differences_of_the_own_clock_count(
    drawn: dict[Key, tuple[float, str]], shift: float, now: float
) -> None:
    rounded = {key: (round(since), owner) for key, (since, owner) in drawn.items()}
    shifted = {key: (since + round(shift), owner) for key, (since, owner) in rounded.items()}
    before = due(_watch(rounded), round(now), {})
    assert before == due(_watch(shifted), round(now) + round(shift), {})
