"""What a broker gives, into records: whatever a batch holds, what is beside it is read."""

from __future__ import annotations

import os
import struct
from typing import Any

import pytest
from backports import zstd

from adapters import kafka_batches, kafka_codecs
from adapters.kafka_batches import Answer, Record, split
from tests.contract.kafka.raw import CODECS, GZIP, HEAD, LZ4, SNAPPY, ZSTD, Given, batch, sealed

FEW: list[Given] = [
    (b"k0", b"v0", [("h", b"x"), ("none", None)]),
    (None, None, []),
    (b"", b"", [("", b"")]),
]


def read(*batches: bytes, offset: int = 0, **more: Any) -> list[Record]:
    found, _ = split(Answer("t", 3, offset, b"".join(batches), **more))
    return [record for each in found for record in each.records()]


def positions(*batches: bytes, offset: int = 0, **more: Any) -> int:
    return split(Answer("t", 3, offset, b"".join(batches), **more))[1]


def texts(records: list[Record]) -> list[str]:
    return [record.fault.text for record in records if record.fault]


@pytest.mark.parametrize("codec", CODECS.values(), ids=CODECS)
def test_records_come_as_they_were_written(codec: int) -> None:
    many = [*FEW, *[(os.urandom(9), os.urandom(70_000), [("a", b"b")])] * 5]
    made = batch(many, codec, base=100)
    found = read(made, offset=100)
    assert [(r.key, r.value, list(r.headers)) for r in found] == [
        (key, value, list(headers)) for key, value, headers in many
    ]
    assert [r.offset for r in found] == list(range(100, 108))
    assert not texts(found)
    assert positions(made, offset=100) == 108


def test_what_is_before_the_wanted_offset_is_left_out() -> None:
    assert [r.offset for r in read(batch(FEW, GZIP, base=100), offset=102)] == [102]


def test_what_is_cut_off_comes_again() -> None:
    first, second = batch(FEW), batch(FEW, base=3)
    for kept in (1, 11, 12, HEAD, len(second) - 1):
        assert len(read(first, second[:kept])) == 3
        assert positions(first, second[:kept]) == 3


@pytest.mark.parametrize("codec", [5, 6, 7])
def test_a_codec_that_there_is_not_is_a_raw_batch_and_the_next_is_read(codec: int) -> None:
    bad = sealed(batch(FEW), codec=codec)
    one, *rest = read(bad, batch(FEW, base=3))
    assert one.fault is not None
    assert (one.value, one.offset, one.next_offset) == (bad, 0, 3)
    assert (one.fault.reason, one.fault.holds) == ("unreadable", "batch")
    assert f"codec number {codec}: unknown, expected one of none, gzip" in one.fault.text
    assert [r.offset for r in rest] == [3, 4, 5]


@pytest.mark.parametrize("codec", [GZIP, SNAPPY, LZ4, ZSTD])
@pytest.mark.parametrize("spoilt", ["cut", "changed", "none of it"])
def test_what_cannot_be_decompressed_is_a_raw_batch(codec: int, spoilt: str) -> None:
    good = batch([(b"k", os.urandom(9_000), [])], codec)
    body = {
        "cut": good[HEAD:-20],
        "changed": b"\x01\x02\x03\x04" + good[HEAD + 4 :],
        "none of it": b"",
    }
    found = read(sealed(good[:HEAD] + body[spoilt]), batch(FEW, base=1))
    assert [(r.offset, r.fault is None) for r in found] == [
        (0, False),
        (1, True),
        (2, True),
        (3, True),
    ]


def test_a_checksum_that_does_not_fit_is_said() -> None:
    [one] = read(batch(FEW)[:-1] + b"\xee")
    where = f"batch of {len(batch(FEW))} bytes, codec none, offsets 0 to 2 of it"
    problem = "checksum: does not fit, expected the bytes that were written"
    assert texts([one]) == [f"{where}: {problem}"]


def test_a_bad_name_of_a_header_concerns_its_record_alone() -> None:
    made = batch([(b"a", b"1", []), (b"b", b"2", [("spelt", b"x")]), (b"c", b"3", [])])
    first, bad, last = read(sealed(made.replace(b"spelt", b"sp\xfflt")))
    assert (first.fault, last.fault) == (None, None)
    assert (bad.key, bad.value, bad.headers) == (b"b", b"2", (("sp\\xfflt", b"x"),))
    assert texts([bad]) == ["headers: name b'sp\\xfflt', expected UTF-8"]


def test_a_record_that_is_broken_inside_is_kept_raw_and_alone() -> None:
    made = batch([(b"a", b"1", []), (b"bbb", b"2222", []), (b"c", b"3", [])])
    at = made.index(b"\x06bbb")
    first, bad, last = read(sealed(made[:at] + b"\x7e" + made[at + 1 :]))
    assert (first.fault, last.fault) == (None, None)
    assert bad.fault is not None
    assert (bad.offset, bad.fault.holds) == (1, "record")
    assert b"bbb" in (bad.value or b"")
    assert "a part of 63 bytes" in bad.fault.text


def test_more_or_fewer_records_than_a_batch_says_that_it_has() -> None:
    more = read(sealed(batch(FEW), count=9))
    assert [(r.offset, r.fault is None) for r in more] == [
        (0, True),
        (1, True),
        (2, True),
        (2, False),
    ]
    fewer = read(sealed(batch(FEW), count=2))
    assert [(r.offset, r.fault is None) for r in fewer] == [(0, True), (1, True), (2, False)]
    assert "more bytes after the 2" in texts(fewer)[0]


@pytest.mark.parametrize("last", [-1, -7, -(2**31)])
def test_a_last_offset_before_the_first_does_not_stand_in_the_way(last: int) -> None:
    made = sealed(batch(FEW), last=last)
    [one] = read(made)
    assert (one.offset, one.next_offset) == (0, 1)
    assert positions(made) == 1


def test_a_last_offset_beyond_the_next_batch_passes_over_nothing() -> None:
    far = sealed(batch(FEW), last=2**31 - 1)
    assert [r.offset for r in read(far, batch(FEW, base=3))] == [0, 1, 2, 3, 4, 5]
    assert positions(far, log_end=3) == 3


def test_more_records_than_offsets_take_none_of_the_next_batch() -> None:
    # Else the offset of what was not done yet would be committed with them.
    found = read(sealed(batch(FEW), last=0), batch(FEW, base=1))
    assert [(r.offset, r.next_offset) for r in found][:4] == [(0, 1), (0, 1), (0, 1), (1, 2)]
    assert len(texts(found)) == 2


def test_offsets_that_go_back_are_faults_of_their_records() -> None:
    made = batch([(b"a", b"1", []), (b"b", b"2", []), (b"c", b"3", [])])
    at = made.index(b"\x02b") - 1  # the second's offset, 1 after the first's
    again = sealed(made[:at] + b"\x00" + made[at + 1 :])
    first, second, third = read(again)
    assert [r.offset for r in (first, second, third)] == [0, 1, 2]
    assert texts([first, second, third]) == ["offset: 0, expected 1 to 2"]


@pytest.mark.parametrize("magic", [0, 1, 3, 127])
def test_a_format_that_is_not_read_is_said(magic: int) -> None:
    made = bytearray(batch(FEW))
    made[16] = magic
    one, *rest = read(bytes(made), batch(FEW, base=1))
    assert f"format: got version {magic}, expected 2" in texts([one])[0]
    assert [r.offset for r in rest] == [1, 2, 3]


@pytest.mark.parametrize("offset", [1, 2])
def test_a_batch_whose_end_is_not_known_is_passed_offset_by_offset(offset: int) -> None:
    """Committed after its first offset, it comes again for the next: it must not for ever."""
    made = bytearray(batch(FEW))
    made[16] = 1
    [one] = read(bytes(made), offset=offset)
    assert (one.offset, one.next_offset, positions(bytes(made), offset=offset)) == (
        *(offset, offset + 1),
        offset + 1,
    )
    after = read(bytes(made), batch(FEW, base=1), offset=offset)
    assert not texts(after)
    assert [r.offset for r in after] == list(range(offset, 4))


@pytest.mark.parametrize("length", [-1, 0, 4, -(2**31)])
def test_a_length_that_is_none_does_not_stand_in_the_way(length: int) -> None:
    made = batch(FEW) + struct.pack(">qi", 3, length) + b"x" * 90
    *good, bad = read(made)
    assert [r.offset for r in good] == [0, 1, 2]
    assert (bad.offset, bad.next_offset, positions(made)) == (3, 4, 4)


def test_aborted_transactions_and_marks_are_no_records() -> None:
    transactional, control = 0x10, 0x20

    def of(producer: int, made: bytes) -> bytes:
        with_id = bytearray(made)
        struct.pack_into(">q", with_id, 43, producer)
        return sealed(bytes(with_id))

    def part(base: int, producer: int, *, mark: bool = False) -> bytes:
        kind = transactional | (control if mark else 0)
        return of(producer, sealed(batch(FEW[:1], base=base), attributes=kind))

    all_of_it = b"".join(
        [
            part(0, 7),
            part(1, 8),
            part(2, 7, mark=True),
            part(3, 7),
            part(4, 8, mark=True),
            part(5, 7, mark=True),
        ]
    )
    found = read(all_of_it, aborted=((7, 0),))
    assert [r.offset for r in found] == [1, 3]
    assert positions(all_of_it, aborted=((7, 0),)) == 6


def test_more_headers_than_are_read_leave_their_record_as_it_is() -> None:
    """Two bytes each: 4 MiB, from 17 kB on the wire, would be two million of them."""
    most = kafka_batches.HEADERS_MOST
    many: Given = (b"k", b"v" * 9, [("", None)] * (most + 1))
    first, bad, last = read(batch([(b"k", b"v", [("", None)] * most), many, FEW[0]], GZIP))
    assert (first.fault, len(first.headers), last.fault) == (None, most, None)
    assert first.size > most * 100, "each is an object, whatever is in it"
    assert bad.fault is not None
    assert (bad.fault.reason, bad.fault.holds, bad.headers) == ("unreadable", "record", ())
    assert b"v" * 9 in (bad.value or b"")
    assert f"{most + 1} headers, and at most {most} are read" in bad.fault.text


def test_more_records_than_are_read_leave_the_rest_as_it_is(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_batches, "RECORDS_MOST", 5)
    found = read(batch([(None, b"v", [])] * 9, ZSTD))
    assert [(r.offset, r.next_offset, r.fault is None) for r in found] == [
        *((n, n + 1, True) for n in range(5)),
        (5, 9, False),
    ]


@pytest.mark.parametrize("codec", [GZIP, LZ4, ZSTD])
def test_more_bytes_than_are_read_leave_the_rest_as_it_is(
    monkeypatch: pytest.MonkeyPatch, codec: int
) -> None:
    monkeypatch.setattr(kafka_batches, "BATCH_MOST", 3_000_000)
    found = read(
        batch([(None, b"v", []), (None, b" " * 2_900_000, []), (None, b"x" * 900_000, [])], codec)
    )
    assert [(r.offset, r.fault is None) for r in found] == [(0, True), (1, True), (2, False)]
    assert "more than 3000000 bytes when decompressed" in texts(found)[0]


@pytest.mark.parametrize("codec", [0, GZIP, LZ4, ZSTD])
def test_a_large_record_is_cut_and_its_neighbours_are_whole(codec: int) -> None:
    large = (b"k" * 300_000, b"v" * 5_000_000, [("h", b"x")])
    first, cut, last = read(batch([FEW[0], large, FEW[0]], codec))
    assert (first.fault, last.fault) == (None, None)
    assert cut.fault is not None
    assert (cut.fault.reason, cut.fault.length) == ("too_large", 5_000_000)
    assert (len(cut.key or b""), len(cut.value or b""), cut.headers) == (
        kafka_batches.KEPT,
        kafka_batches.KEPT,
        (("h", b"x"),),
    )


def test_zstd_with_a_large_window_is_read_as_far_as_it_is_short(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(kafka_codecs, "WIDE_MOST", 1_000_000)
    plain = batch([(None, b"v" * 600_000, []), (None, b"w" * 700_000, [])])
    stream = zstd.ZstdCompressor(options={zstd.CompressionParameter.window_log: 27})
    body = stream.compress(plain[HEAD:]) + stream.flush()
    found = read(sealed(plain[:HEAD] + body, codec=ZSTD))
    assert [(r.offset, r.fault is None) for r in found] == [(0, True), (1, False)]


def test_a_fault_while_reading_is_kept_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: Any) -> None:
        raise MemoryError("no more")

    monkeypatch.setattr(kafka_batches, "calc_crc32c", broken)
    [one] = read(batch(FEW))
    assert "MemoryError: no more" in texts([one])[0]
    assert one.next_offset == 3
