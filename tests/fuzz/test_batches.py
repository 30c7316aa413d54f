"""Any bytes as what a broker gives: nothing raises, and no offset is passed over or comes twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from adapters.kafka_batches import Answer, split
from tests.contract.kafka.raw import CODECS, HEAD, batch, sealed

_BYTES = st.binary(max_size=300)
_RECORD = st.tuples(
    st.none() | _BYTES,
    st.none() | _BYTES,
    st.lists(st.tuples(st.text(max_size=20), st.none() | _BYTES), max_size=3),
)
_INT32 = st.integers(-(2**31), 2**31 - 1)


@st.composite
def _batches(draw: st.DrawFn) -> bytes:
    """A few batches, some of them spoilt in one way or another."""
    made, base = b"", 0
    for _ in range(draw(st.integers(1, 3))):
        records = draw(st.lists(_RECORD, min_size=1, max_size=4))
        one = batch(records, draw(st.sampled_from(list(CODECS.values()))), base=base)
        base += len(records)
        made += _spoilt(draw, one)
    return made


def _spoilt(draw: st.DrawFn, one: bytes) -> bytes:
    how = draw(st.sampled_from(["not", "body", "head", "any", "length"]))
    at = draw(st.integers(HEAD if how == "body" else 0, len(one) - 1))
    changed = one[:at] + draw(st.binary(min_size=1, max_size=8)) + one[at + 1 :]
    if how == "body":
        return sealed(changed)
    if how == "head":
        codec, last, count = draw(st.integers(0, 7)), draw(_INT32), draw(_INT32)
        return sealed(one, codec=codec, last=last, count=count)
    return {"not": one, "any": changed, "length": one[:at]}[how]


@given(data=_batches() | st.binary(max_size=400), offset=st.integers(0, 6))
def test_whatever_a_broker_gives_each_offset_is_covered_once(data: bytes, offset: int) -> None:
    batches, position = split(Answer("t", 0, offset, data))
    assert position >= offset
    at = offset
    for each in batches:
        assert at <= each.first <= each.last < position
        at = each.first
        for record in each.records():
            assert record.offset >= at or record.offset == each.last
            assert record.next_offset <= each.last + 1
            assert record.fault is None or record.fault.text
            at = record.next_offset
        at = each.last + 1
