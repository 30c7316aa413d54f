"""Record batches as a broker gives them, into records; what can't be read is kept apart.

Read here and not by aiokafka (0.14): there one bad byte of one record ends the fetch of every
partition, with what was fetched of others, and what a batch decompresses to is in memory at once.
Here nothing raises: what can't be given becomes a `Record` with a `Fault`, and the next is read.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from aiokafka.record.util import calc_crc32c

from adapters.kafka_codecs import UnreadableError, name, pieces
from schemas.rejection import RejectReason

RECORD_MOST: Final = 4 * 1024 * 1024
"""Bytes of a record, uncompressed, up to which it is given whole."""
BATCH_MOST: Final = 512 * 1024 * 1024
"""Bytes that are decompressed of one batch; the rest of it is given as it is."""
RECORDS_MOST: Final = 100_000
"""Records that are read of one batch; the rest of it is given as it is."""
HEADERS_MOST: Final = 1000
"""Headers of a record that is read; two bytes each, a record could have millions."""
KEPT: Final = 256 * 1024
"""Bytes of the value, of the key and of the headers of a larger record that are given."""

_HEAD: Final = struct.Struct(">qiibIhiqqqhii")
_PREFIX: Final = 12
_CHECKED: Final = 21
_MAGIC: Final = 2
_MAGIC_AT: Final = 16
_CODEC: Final = 0x07
_APPENDED: Final = 0x08
_TRANSACTIONAL: Final = 0x10
_CONTROL: Final = 0x20
_VARINT_BITS: Final = 63
_HEADER_OBJECTS: Final = 150
"""Bytes that a header takes beside those of its name and value."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a record can't be acted upon, before anybody looked at what it says."""

    reason: RejectReason
    text: str
    last_offset: int
    """Of what is concerned: more than one record where a whole batch is."""
    holds: str = "value"
    """What the value is: the record's own `value`, a raw `record`, or a raw `batch`."""
    length: int | None = None
    """Of the value, where it was cut already."""
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class Record:
    """One record, or what is there in its place."""

    topic: str
    partition: int
    offset: int
    timestamp: int
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes | None], ...] = ()
    fault: Fault | None = None

    @property
    def next_offset(self) -> int:
        """The offset after it, and after all that it stands for."""
        return self.offset + 1 if self.fault is None else self.fault.last_offset + 1

    @property
    def size(self) -> int:
        """Bytes that it has in memory, about."""
        headers = sum(_HEADER_OBJECTS + len(key) + len(value or b"") for key, value in self.headers)
        return len(self.key or b"") + len(self.value or b"") + headers


@dataclass(frozen=True, slots=True)
class Batch:
    """One batch of a partition, not read yet."""

    topic: str
    partition: int
    first: int
    """The first offset of it that is wanted."""
    last: int
    data: bytes
    trouble: str = ""
    """What is wrong with its frame, where that is known already."""

    def records(self) -> Iterator[Record]:
        """All that is in it, in the order of offsets, from `first` on; each offset is covered."""
        at = self.first
        try:
            for record in self._read():
                at = record.next_offset
                yield record
        except Exception as why:  # noqa: BLE001 - whatever a batch brings out, the next is read
            yield self._rest(min(at, self.last), why)

    def _read(self) -> Iterator[Record]:
        if self.trouble:
            raise UnreadableError(self.trouble)
        (*_, crc, attributes, _last, begun, newest, _pid, _epoch, _seq, count) = _HEAD.unpack_from(
            self.data
        )
        if calc_crc32c(self.data[_CHECKED:]) != crc:
            raise UnreadableError("checksum: does not fit, expected the bytes that were written")
        source = _Source(pieces(attributes & _CODEC, memoryview(self.data)[_HEAD.size :]))
        reader = _Reader(self, source, newest if attributes & _APPENDED else None, begun)
        for number in range(count):
            if number == RECORDS_MOST:
                raise UnreadableError(f"records: got {count}, expected at most {RECORDS_MOST}")
            record = reader.next()
            if record is not None:
                yield record
        if source.has_more():
            raise UnreadableError(f"records: more bytes after the {count} that it says it has")

    def _rest(self, first: int, why: Exception) -> Record:
        """The batch itself, in the place of those of its records that could not be read."""
        whole = len(self.data) >= _HEAD.size
        codec = name(_HEAD.unpack_from(self.data)[5] & _CODEC) if whole else "unknown"
        stamp = _HEAD.unpack_from(self.data)[8] if whole else 0
        text = (
            f"batch of {len(self.data)} bytes, codec {codec}, "
            f"offsets {first} to {self.last} of it: {_said(why)}"
        )
        fault = Fault(RejectReason.UNREADABLE, text, self.last, "batch")
        return Record(
            self.topic, self.partition, first, max(0, stamp), None, self.data, fault=fault
        )


def _said(why: Exception) -> str:
    return str(why) if isinstance(why, UnreadableError) else f"{type(why).__name__}: {why}"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a broker gave for one partition."""

    topic: str
    partition: int
    offset: int
    """What was asked for: records before it are not wanted."""
    data: bytes
    """Batches one after the other; the last may be cut off, and comes again."""
    aborted: tuple[tuple[int, int], ...] = ()
    """Producer id and first offset of each aborted transaction."""
    log_end: int | None = None
    """The offset after the partition's last record, where it is known."""

    def as_one(self, trouble: str) -> Batch:
        """All of it in the place of the record that was asked for."""
        return Batch(self.topic, self.partition, self.offset, self.offset, self.data, trouble)


def split(answer: Answer) -> tuple[list[Batch], int]:
    """Take apart what a broker gave for one partition, without reading the batches.

    Returns:
        The batches with records that count, and the offset to ask for next.
    """
    data, offset, log_end = answer.data, answer.offset, answer.log_end
    open_aborts = sorted(answer.aborted, key=lambda each: each[1])
    gone: set[int] = set()
    found: list[Batch] = []
    at = 0
    while len(data) - at >= _PREFIX + 5:
        base, length = struct.unpack_from(">qi", data, at)
        if length < _MAGIC_AT + 1 - _PREFIX:
            rest = replace(answer, offset=offset, data=data[at:])
            found.append(rest.as_one(f"length: got {length}, expected a batch"))
            return found, offset + 1
        end = at + _PREFIX + length
        if end > len(data):
            break
        batch, at = data[at:end], end
        trouble = _frame_trouble(batch)
        following = data[end : end + 8]
        last = base if trouble else _last(batch, following, log_end)
        if last < offset:
            if last >= base and not (trouble and _may_reach(offset, following)):
                continue  # all of it was before what is wanted
            trouble = trouble or f"last offset: got {last}, expected {base} or more"
            last = offset
        if not trouble and _is_no_data(batch, base, open_aborts, gone):
            offset = last + 1
            continue
        first = min(max(offset, base), last)
        found.append(Batch(answer.topic, answer.partition, first, last, batch, trouble))
        offset = last + 1
    return found, offset


def _last(batch: bytes, following: bytes, log_end: int | None) -> int:
    """The last offset of a batch: what it says, but not beyond where the next begins."""
    head: tuple[int, ...] = _HEAD.unpack_from(batch)
    base, last = head[0], head[0] + head[6]
    begins = int.from_bytes(following, "big") if len(following) == 8 else log_end  # noqa: PLR2004
    return min(last, begins - 1) if begins is not None and begins > base else last


def _may_reach(offset: int, following: bytes) -> bool:
    """Whether a batch whose end is not known may be why a broker gave it: it has this offset.

    Passed over, it would come again each time. One offset of it is taken at a time.
    """
    known = len(following) == 8  # noqa: PLR2004 - the offset where the next one begins
    return not known or int.from_bytes(following, "big") > offset


def _frame_trouble(batch: bytes) -> str:
    magic = batch[_MAGIC_AT]
    if magic != _MAGIC:
        return f"format: got version {magic}, expected 2 (Kafka 0.11 or later)"
    if len(batch) < _HEAD.size:
        return f"length: got {len(batch)} bytes, expected at least {_HEAD.size}"
    return ""


def _is_no_data(
    batch: bytes, base: int, open_aborts: list[tuple[int, int]], gone: set[int]
) -> bool:
    """Whether a batch is a mark of a transaction, or part of one that was aborted."""
    while open_aborts and open_aborts[0][1] <= base:
        gone.add(open_aborts.pop(0)[0])
    head = _HEAD.unpack_from(batch)
    attributes, producer = head[5], head[9]
    if attributes & _CONTROL:
        # Both marks end the transaction; what comes after an abort is listed as aborted anew.
        gone.discard(producer)
        return True
    return bool(attributes & _TRANSACTIONAL) and producer in gone


class _Source:
    """Bytes that come in pieces, read by number."""

    def __init__(self, parts: Iterator[bytes]) -> None:
        self._parts = parts
        self._piece = b""
        self._at = 0
        self._before = 0

    @property
    def position(self) -> int:
        """Bytes read so far."""
        return self._before + self._at

    def has_more(self) -> bool:
        """Whether there is another byte."""
        while self._at == len(self._piece):
            self._before += len(self._piece)
            self._piece, self._at = b"", 0
            if self._before > BATCH_MOST:
                raise UnreadableError(f"more than {BATCH_MOST} bytes when decompressed")
            piece = next(self._parts, None)
            if piece is None:
                return False
            self._piece = piece
        return True

    def some(self, most: int) -> bytes:
        """At least one byte, and at most so many."""
        if not self.has_more():
            raise UnreadableError("ends in the midst of a record, expected more bytes")
        taken = self._piece[self._at : self._at + most]
        self._at += len(taken)
        return taken

    def read(self, count: int) -> bytes:
        """So many bytes."""
        taken = self._piece[self._at : self._at + count]
        self._at += len(taken)
        if len(taken) == count:
            return taken
        parts = [taken]
        left = count - len(taken)
        while left:
            parts.append(self.some(left))
            left -= len(parts[-1])
        return b"".join(parts)

    def begin(self, count: int, most: int) -> tuple[bytes, str]:
        """The beginning of so many bytes, at most `most` of them, and the digest of all."""
        kept = self.read(min(count, most))
        digest = hashlib.sha256(kept)
        left = count - len(kept)
        while left:
            taken = self.some(left)
            digest.update(taken)
            left -= len(taken)
        return kept, digest.hexdigest()

    def varint(self) -> int:
        """A number as Kafka writes them."""
        value = shift = 0
        while shift <= _VARINT_BITS:
            byte = self.read(1)[0]
            value |= (byte & 0x7F) << shift
            if byte < 0x80:  # noqa: PLR2004 - the bit that says that there is more
                return (value >> 1) ^ -(value & 1)
            shift += 7
        raise UnreadableError("a number of more than 10 bytes")


class _Reader:
    """Records out of a batch's bytes."""

    def __init__(self, batch: Batch, source: _Source, stamp: int | None, begun: int) -> None:
        """Read from the source; `stamp` is the time of all of them, where they have one."""
        self._batch = batch
        head: tuple[int, ...] = _HEAD.unpack_from(batch.data)
        self._base = head[0]
        self._source = source
        self._stamp = stamp
        self._begun = begun
        self._next = self._base

    def next(self) -> Record | None:
        """The next record; None for one that is before what is wanted."""
        length = self._source.varint()
        if not 0 <= length <= BATCH_MOST:
            raise UnreadableError(f"record: got a length of {length}, expected 0 to {BATCH_MOST}")
        large = length > RECORD_MOST
        record = self._large(length) if large else self._whole(self._source.read(length))
        self._next = record.next_offset
        return record if record.offset >= self._batch.first else None

    def _whole(self, body: bytes) -> Record:
        try:
            cursor = _Cursor(body, 1)
            delay, delta = cursor.varint(), cursor.varint()
            key, value = cursor.sized(), cursor.sized()
            headers, misspelt = cursor.headers()
            if cursor.at != len(body):
                raise ValueError(f"{len(body) - cursor.at} bytes after its headers")  # noqa: TRY301
        except (ValueError, IndexError) as error:
            text = f"record of {len(body)} bytes: {error}, expected one of Kafka's format 2"
            fault = Fault(RejectReason.UNREADABLE, text, self._spare, "record")
            return self._record(self._spare, self._begun, None, body, fault=fault)
        offset = self._offset(delta)
        wrong = f"headers: name {misspelt!r:.80}, expected UTF-8" if misspelt is not None else ""
        if offset is None:
            offset = self._spare
            wrong = f"offset: {self._base + delta}, expected {offset} to {self._batch.last}"
        return self._record(
            offset,
            self._begun + delay,
            key,
            value,
            headers=headers,
            fault=Fault(RejectReason.UNREADABLE, wrong, offset) if wrong else None,
        )

    def _large(self, length: int) -> Record:
        """A record that is too large: read through for its digest, and given cut."""
        source = self._source
        end = source.position + length
        source.read(1)
        delay, offset = source.varint(), self._offset(source.varint())
        key, _, _ = self._sized(end)
        value, size, digest = self._sized(end)
        rest, _ = source.begin(max(0, end - source.position), KEPT)
        if source.position != end:
            raise UnreadableError(f"record of {length} bytes: its parts are longer than itself")
        try:
            headers, _ = _Cursor(rest, 0).headers()
        except (ValueError, IndexError):  # cut off, or never right
            headers = ()
        offset = self._spare if offset is None else offset
        text = (
            f"record: got {length} bytes when decompressed, expected at most {RECORD_MOST}; "
            f"the value has {size}"
        )
        fault = Fault(RejectReason.TOO_LARGE, text, offset, length=size, sha256=digest)
        return self._record(offset, self._begun + delay, key, value, headers=headers, fault=fault)

    def _sized(self, end: int) -> tuple[bytes | None, int, str]:
        length = self._source.varint()
        if length < 0:
            return None, 0, ""
        if length > end - self._source.position:
            raise UnreadableError(f"record: a part of {length} bytes, longer than the record")
        kept, digest = self._source.begin(length, KEPT)
        return kept, length, digest

    @property
    def _spare(self) -> int:
        """The offset of a record that does not say a possible one; none of another batch."""
        return min(self._next, self._batch.last)

    def _offset(self, delta: int) -> int | None:
        """The offset, if it is one that can follow."""
        offset = self._base + delta
        return offset if self._next <= offset <= self._batch.last else None

    def _record(  # noqa: PLR0913 - what a record has
        self,
        offset: int,
        stamp: int,
        key: bytes | None,
        value: bytes | None,
        *,
        headers: tuple[tuple[str, bytes | None], ...] = (),
        fault: Fault | None = None,
    ) -> Record:
        batch = self._batch
        at = self._stamp if self._stamp is not None else stamp
        return Record(batch.topic, batch.partition, offset, at, key, value, headers, fault)


class _Cursor:
    """A place in the bytes of one record; raises `IndexError` or `ValueError` at what is wrong."""

    def __init__(self, data: bytes, at: int) -> None:
        self._data = data
        self.at = at

    def varint(self) -> int:
        byte = self._data[self.at]
        self.at += 1
        value, shift = byte & 0x7F, 7
        while byte >= 0x80:  # noqa: PLR2004 - the bit that says that there is more
            if shift > _VARINT_BITS:
                raise ValueError("a number of more than 10 bytes")
            byte = self._data[self.at]
            self.at += 1
            value |= (byte & 0x7F) << shift
            shift += 7
        return (value >> 1) ^ -(value & 1)

    def sized(self) -> bytes | None:
        length = self.varint()
        if length < 0:
            return None
        end = self.at + length
        if end > len(self._data):
            raise ValueError(f"a part of {length} bytes where {len(self._data) - self.at} are left")
        part, self.at = self._data[self.at : end], end
        return part

    def headers(self) -> tuple[tuple[tuple[str, bytes | None], ...], bytes | None]:
        """The headers, and the first name that is not UTF-8; such names are spelt out."""
        count = self.varint()
        if not 0 <= count <= HEADERS_MOST:
            raise ValueError(f"{count} headers, and at most {HEADERS_MOST} are read")
        found: list[tuple[str, bytes | None]] = []
        misspelt: bytes | None = None
        for _ in range(count):
            key = self.sized()
            if key is None:
                raise ValueError("a header without a name")
            try:
                spelt = key.decode()
            except UnicodeDecodeError:
                spelt = key.decode("utf-8", "backslashreplace")
                misspelt = key if misspelt is None else misspelt
            found.append((spelt, self.sized()))
        return tuple(found), misspelt
