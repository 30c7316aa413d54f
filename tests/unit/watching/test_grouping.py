"""Which templates go out together."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.watching.grouping import Groups
from aviary.watching.requests import request_of, same_service
from aviary.watching.templates import Key, Template, read_template
from tests.unit.watching.parts import AT, NAMES, deployment

QUIET, LONGEST = 5.0, 60.0


def template(name: str, generation: int = 1, key: Key | None = None) -> Template:
    thing = deployment(name, f"{name}:{generation}", generation=generation)
    return replace(read_template(thing, name, None), key=key or Key())


def names(groups: Groups, at: float) -> list[list[str]]:
    return [[one.service for one in group.templates] for group in groups.due(at)]


def test_a_group_is_whole_when_it_was_quiet() -> None:
    groups = Groups(QUIET, LONGEST)
    groups.add(template("checkout"), 0)
    groups.add(template("cart"), 4)
    assert groups.next_at() == 9
    assert names(groups, 8.9) == []
    assert names(groups, 9) == [["cart", "checkout"]]
    assert groups.next_at() is None


def test_a_group_waits_no_longer_than_the_longest() -> None:
    groups = Groups(QUIET, LONGEST)
    for second in range(0, 60, 2):  # one template, changed again and again
        groups.add(template("checkout", second + 1), second)
    assert names(groups, 59) == []
    assert names(groups, 60) == [["checkout"]]


def test_releases_and_commits_are_groups_of_their_own() -> None:
    groups = Groups(QUIET, LONGEST)
    groups.add(template("checkout", key=Key("abc")), 0)
    groups.add(template("cart", key=Key("abc")), 3)
    groups.add(template("ledger", key=Key("shop-42", is_release=True)), 1)
    groups.add(template("payments"), 4)
    assert names(groups, 20) == [["cart", "checkout"], ["ledger"], ["payments"]]


def test_a_newer_state_leaves_the_group_of_the_older() -> None:
    groups = Groups(QUIET, LONGEST)
    groups.add(template("checkout", 1, Key("abc")), 0)
    groups.add(template("cart", 1, Key("abc")), 0)
    groups.add(template("checkout", 2, Key("def")), 1)
    assert names(groups, 20) == [["cart"], ["checkout"]]


def test_the_same_state_again_makes_nobody_wait() -> None:
    groups = Groups(QUIET, LONGEST)
    groups.add(template("checkout"), 0)
    groups.add(template("checkout"), 4)
    assert groups.next_at() == 5


_CHANGES = st.lists(
    st.tuples(
        st.sampled_from(NAMES),
        st.sampled_from([Key(), Key("abc"), Key("def"), Key("abc", is_release=True)]),
        st.floats(0, 10),
        st.booleans(),
    ),
    max_size=30,
)


@given(_CHANGES)
def test_each_template_goes_out_once_in_its_newest_state_and_in_time(
    changes: list[tuple[str, Key, float, bool]],
) -> None:
    groups, at, asked, out = Groups(QUIET, LONGEST), 0.0, dict[str, Template](), dict[str, int]()
    since: dict[str, float] = {}

    def take(now: float) -> None:
        for group in groups.due(now):
            services = [one.service for one in group.templates]
            assert services == sorted(set(services))
            for one in group.templates:
                assert asked.pop(one.service) == one  # the newest, and not a second time
                assert one.key == group.key
                assert now - since.pop(one.service) <= LONGEST + 10
                out[one.of.mark] = out.get(one.of.mark, 0) + 1

    for number, (name, key, pause, is_gone) in enumerate(changes):
        at += pause
        take(at)
        if is_gone:
            groups.drop(f"uid-{name}")
            asked.pop(name, None)
            since.pop(name, None)
        else:
            asked[name] = template(name, number + 1, key)
            since.setdefault(name, at)
            groups.add(asked[name], at)
    while (next_at := groups.next_at()) is not None:
        take(next_at)
    assert not asked
    assert set(out.values()) <= {1}


@given(st.permutations([template(name, 3) for name in NAMES]))
def test_the_same_group_has_the_same_event_in_any_order(templates: list[Template]) -> None:
    def event(those: list[Template]) -> object:
        groups = Groups(QUIET, LONGEST)
        for one in those:
            groups.add(one, 0)
        (group,) = groups.due(QUIET)
        request = request_of(group, "shop", AT)
        return request.id, request.deploy, request.record

    assert event(templates) == event(sorted(templates, key=lambda one: one.service))


@pytest.mark.parametrize(
    ("key", "begins"),
    [
        (Key("shop-42", is_release=True), "shop-42"),
        (Key("main@sha1:f913b6cbf58aa5ae"), "rev-f913b6cbf58a-"),
        (Key("//\n☃"), "rev-"),
        (Key(), "cart-and-1-"),
    ],
)
def test_a_release_is_called_as_what_joins_it(key: Key, begins: str) -> None:
    groups = Groups(QUIET, LONGEST)
    for name in ("checkout", "cart"):
        groups.add(template(name, 2, key), 0)
    (group,) = groups.due(QUIET)
    request = request_of(group, "shop", AT)
    assert request.deploy.release.startswith(begins)
    again = request_of(group, "shop", AT, {request.deploy.release})
    taken = key.is_release
    assert (again.deploy.release != request.deploy.release) is taken


def test_one_template_is_its_uid_and_generation() -> None:
    groups = Groups(QUIET, LONGEST)
    groups.add(template("checkout", 7), 0)
    (group,) = groups.due(QUIET)
    assert request_of(group, "shop", AT).id == "uid-checkout/7"


def test_two_templates_of_one_service_are_noticed() -> None:
    groups = Groups(QUIET, LONGEST)
    groups.add(template("checkout"), 0)
    groups.add(replace(template("cart"), service="checkout"), 0)
    (group,) = groups.due(QUIET)
    assert list(same_service(group)) == ["checkout"]
