"""Nothing that befalls one record of a chain goes unnoticed."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.chain import GENESIS, Chain, digest_of
from tests.unit.audit.chains import END, audited, audits, chain_of, edited, kinds, linked, told

LENGTH = 8
WHOLE = chain_of(LENGTH)
_PLACES = st.integers(0, LENGTH - 1)
_SCALARS = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)


def _leaves(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Ways to every scalar of a document."""
    if isinstance(value, dict):
        return [leaf for name, one in value.items() for leaf in _leaves(one, (*path, name))]
    return [path]


_LEAVES = _leaves(json.loads(WHOLE[3]))


def _put(record: bytes, path: tuple[Any, ...], value: Any) -> bytes:
    document = json.loads(record)
    place = document
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return json.dumps(document).encode()


def test_a_whole_chain_is_whole() -> None:
    audit = audited(WHOLE)
    assert audit.whole
    assert audit.ended
    assert (audit.links, audit.head) == (LENGTH, json.loads(WHOLE[-1])["chaindigest"])
    assert json.loads(WHOLE[0])["chainprevious"] == GENESIS


@given(st.lists(_PLACES, max_size=20), st.randoms(use_true_random=False))
def test_copies_in_any_order_are_fine(again: list[int], chance: Any) -> None:
    """Kafka delivers at least once, and files are put together from several."""
    records = [*WHOLE, *(WHOLE[place] for place in again)]
    chance.shuffle(records)
    audit = audited(records)
    assert audit.whole
    assert audit.copies == len(again)


@given(_PLACES)
def test_another_spelling_of_the_same_is_a_copy(place: int) -> None:
    """Who passes events on may write them with blanks, in another order of names."""
    document = json.loads(WHOLE[place])
    spelt = json.dumps(dict(reversed(document.items())), indent=1).encode()
    audit = audited([*WHOLE, spelt])
    assert audit.whole
    assert audit.copies == 1


@given(_PLACES, st.sampled_from(_LEAVES), _SCALARS)
def test_any_other_value_anywhere_is_found(place: int, path: tuple[Any, ...], value: Any) -> None:
    record = WHOLE[place]
    before = json.loads(record)
    after = _put(record, path, value)
    if json.loads(after) == before:
        return
    records = [*WHOLE[:place], after, *WHOLE[place + 1 :]]
    assert not all(one.whole for one in audits(records))


@given(_PLACES, st.sampled_from(_LEAVES), _SCALARS)
def test_a_copy_that_says_something_else_is_found(
    place: int, path: tuple[Any, ...], value: Any
) -> None:
    after = _put(WHOLE[place], path, value)
    if json.loads(after) == json.loads(WHOLE[place]):
        return
    assert not all(one.whole for one in audits([*WHOLE, after]))


@given(st.sets(_PLACES, min_size=1, max_size=LENGTH - 1))
def test_whatever_is_left_out_is_found(gone: set[int]) -> None:
    audit = audited([one for place, one in enumerate(WHOLE) if place not in gone])
    assert not audit.whole
    assert set(kinds(audit)) <= {"missing", "cut"}
    assert ("cut" in kinds(audit)) == (LENGTH - 1 in gone)


@given(_PLACES, _PLACES)
def test_two_that_change_places_are_found(one: int, other: int) -> None:
    """Each with the number and the digests of the other, hashed anew or not."""
    if one == other:
        return
    for anew in (False, True):
        records = list(WHOLE)
        for place, content in ((one, other), (other, one)):
            names = ("chainlink", "chainprevious", "chaindigest")
            kept = {name: json.loads(WHOLE[place])[name] for name in names}
            document = {**json.loads(WHOLE[content]), **kept}
            if anew:
                document["chaindigest"] = digest_of(document)
            records[place] = json.dumps(document).encode()
        assert not audited(records).whole


@given(_PLACES)
def test_a_link_that_is_made_anew_does_not_fit_those_after_it(place: int) -> None:
    document = json.loads(WHOLE[place])
    document["data"]["weight"] = 99
    document["chaindigest"] = digest_of(document)
    records = [*WHOLE[:place], json.dumps(document).encode(), *WHOLE[place + 1 :]]
    if place == LENGTH - 1:  # nothing follows the last: only what was kept elsewhere shows it
        ends = {"r1": json.loads(WHOLE[-1])["chaindigest"]}
        assert audited(records).whole
        assert kinds(audited(records, ends=ends)) == ["other_end"]
    else:
        assert kinds(audited(records)) == ["exchanged"]


def test_a_first_link_that_follows_something_is_found() -> None:
    """All made anew, as it is after the beginning was cut off and the numbers were moved."""
    records, previous = [], "a" * 64
    for record in WHOLE:
        document = {**json.loads(record), "chainprevious": previous}
        document["chaindigest"] = previous = digest_of(document)
        records.append(json.dumps(document).encode())
    audit = audited(records)
    assert kinds(audit) == ["exchanged"]
    assert audit.found[0].link == 0


def test_a_link_from_another_release_is_found() -> None:
    other = chain_of(LENGTH, release="r2")
    records = [*WHOLE[:3], *other[3:4], *WHOLE[4:]]
    first, second = audits(records)
    assert (first.release, kinds(first)) == ("r1", ["missing"])
    assert (second.release, sorted(kinds(second))) == ("r2", ["cut", "missing"])


def test_an_event_without_its_place_is_found() -> None:
    bare = edited(WHOLE[3], chainlink=None, chainprevious=None, chaindigest=None)
    audit = audited([*WHOLE[:3], bare, *WHOLE[4:]])
    assert sorted(kinds(audit)) == ["missing", "unlinked"]


def test_what_follows_the_last_is_found() -> None:
    last = json.loads(WHOLE[-1])
    document = {
        **json.loads(told(LENGTH).wire()),
        "chainlink": LENGTH,
        "chainprevious": last["chaindigest"],
    }
    document["chaindigest"] = digest_of(document)
    audit = audited([*WHOLE, json.dumps(document).encode()])
    assert kinds(audit) == ["extra", "cut"]
    with pytest.raises(ValueError, match="expected none after the last"):
        _chain_at_its_end().link(told(1))


def _chain_at_its_end() -> Chain:
    chain = Chain()
    chain.link(told(0, END))
    return chain


def test_a_release_that_runs_is_whole_only_where_that_is_said() -> None:
    records = chain_of(4, ended=False)
    assert kinds(audited(records)) == ["cut"]
    audit = audited(records, running=True)
    assert audit.whole
    assert not audit.ended


def _reset_after(kept: int) -> tuple[list[bytes], list[bytes]]:
    """What a release told before it was reset, and what it told then, from a link on."""
    before = linked(Chain(), [told(number) for number in range(6)])
    chain = Chain()
    linked(chain, [told(number) for number in range(kept)])
    chain.begin_anew()
    return before, linked(chain, [told(1000), told(1001, END)])


def test_what_was_told_before_a_reset_is_no_finding() -> None:
    before, after = _reset_after(3)
    audit = audited([*before, *after])
    assert audit.whole
    assert (audit.links, audit.reset) == (5, 3)


def test_a_branch_of_nobody_is_found_beside_a_reset() -> None:
    before, after = _reset_after(3)
    document = {**json.loads(before[2]), "data": {"release": "r1"}}
    document["chaindigest"] = digest_of(document)
    audit = audited([*before, *after, json.dumps(document).encode()])
    assert kinds(audit) == ["extra"]


def test_events_of_others_are_no_links() -> None:
    drift = edited(told(0).wire(), type="dev.aviary.drift.found.v1")
    assert audited([*WHOLE, drift, b'{"type": "com.example"}']).whole


@pytest.mark.parametrize(
    "record",
    [b"", b"{", b"[" * 100_000, b'"text"', b"[1]", b"\xff", b'{"chaindigest": 1}', b"NaN"],
)
def test_what_can_not_be_read_is_a_finding_and_no_error(record: bytes) -> None:
    nobody, release = audits([*WHOLE, record])
    assert kinds(nobody) == ["unreadable"]
    assert release.whole


@given(
    st.sampled_from(["chainlink", "chainprevious", "chaindigest", "time", "type", "data"]), _SCALARS
)
def test_hostile_links_are_findings_and_no_errors(name: str, value: Any) -> None:
    record = json.loads(WHOLE[2])
    if record[name] == value:
        return
    record[name] = value
    assert not all(
        one.whole for one in audits([*WHOLE[:2], json.dumps(record).encode(), *WHOLE[3:]])
    )


def test_a_replay_makes_the_same_chain() -> None:
    assert chain_of(5) == chain_of(5)


def test_numbers_that_json_writes_otherwise_are_the_same() -> None:
    (record,) = linked(Chain(), [told(0, data=[1.0, 1e-7, 1e21, float("inf")])])
    audit = audited([json.dumps(json.loads(record)).encode()], running=True)
    assert audit.whole
