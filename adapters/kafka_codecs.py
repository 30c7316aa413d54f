"""Kafka's codecs, read piece by piece.

A few bytes can stand for gigabytes: what they expand to is never in memory at once, and whoever
reads stops when it is enough.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable, Iterator
from typing import Any, Final

import cramjam
import lz4.frame

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

PIECE: Final = 256 * 1024
"""Bytes of one piece, at most; of snappy's own blocks `SNAPPY_MOST`."""
SNAPPY_MOST: Final = 32 * 1024 * 1024
"""Snappy says in advance how long a block is, and gives it whole."""
WIDE_MOST: Final = 64 * 1024 * 1024
"""What is read of a zstd frame that wants a larger window than levels up to 19 do."""

_FED: Final = 16 * 1024
_WINDOW: Final = 23
_WIDE_WINDOW: Final = 27
_XERIAL: Final = b"\x82SNAPPY\0"
_XERIAL_HEADER: Final = 16
_LENGTH: Final = 4
_NAMES: Final = {0: "none", 1: "gzip", 2: "snappy", 3: "lz4", 4: "zstd"}


class UnreadableError(ValueError):
    """Bytes from Kafka that can't be read: says what is wrong and what was expected."""


def name(codec: int) -> str:
    """The name of a codec by its number in a batch."""
    return _NAMES.get(codec, f"number {codec}")


def pieces(codec: int, data: memoryview) -> Iterator[bytes]:
    """What is compressed in `data`, in order.

    Raises:
        UnreadableError: while reading, where the rest can't be decompressed.
    """
    reader = _READERS.get(codec)
    if reader is None:
        known = ", ".join(_NAMES.values())
        raise UnreadableError(f"codec {name(codec)}: unknown, expected one of {known}")
    try:
        yield from reader(data)
    except UnreadableError:
        raise
    # Each library has its own: lz4's are plain RuntimeErrors.
    except (zlib.error, zstd.ZstdError, cramjam.DecompressionError, RuntimeError) as error:
        raise UnreadableError(f"codec {name(codec)}: {error}, expected valid data") from error


def _plain(data: memoryview) -> Iterator[bytes]:
    for at in range(0, len(data), PIECE):
        yield bytes(data[at : at + PIECE])


def _gzip(data: memoryview) -> Iterator[bytes]:
    # Fed little by little: zlib copies what it has not used at each call.
    stream = zlib.decompressobj(wbits=31)
    for at in range(0, len(data), _FED):
        fed = bytes(data[at : at + _FED])
        while fed:
            if stream.eof:
                stream = zlib.decompressobj(wbits=31)
            if piece := stream.decompress(fed, PIECE):
                yield piece
            fed = stream.unused_data if stream.eof else stream.unconsumed_tail
            while not stream.eof and not fed and len(piece) == PIECE:
                # All was taken in, and more may come of it.
                if piece := stream.decompress(b"", PIECE):
                    yield piece
                fed = stream.unused_data if stream.eof else b""
    if not stream.eof:
        raise UnreadableError("codec gzip: ends in the midst, expected the whole")


def _framed(new: Callable[[], Any], what: str, data: memoryview) -> Iterator[bytes]:
    """Frames of a library that has the standard library's way of decompressing in pieces."""
    stream, at, fed = new(), 0, b""
    while True:
        if stream.eof:
            fed = stream.unused_data
            if not fed and at >= len(data):
                return
            stream = new()
        if not fed and stream.needs_input:
            fed, at = bytes(data[at : at + _FED]), at + _FED
            if not fed:
                raise UnreadableError(f"codec {what}: ends in the midst, expected the whole")
        piece, fed = stream.decompress(fed, PIECE), b""
        if piece:
            yield piece


def _lz4(data: memoryview) -> Iterator[bytes]:
    return _framed(lz4.frame.LZ4FrameDecompressor, "lz4", data)


def _zstd(data: memoryview) -> Iterator[bytes]:
    frames = _framed(lambda: _zstd_stream(_WINDOW), "zstd", data)
    try:
        first = next(frames, b"")
    except zstd.ZstdError:
        yield from _wide_zstd(data)
        return
    yield first
    yield from frames


def _wide_zstd(data: memoryview) -> Iterator[bytes]:
    """As levels above 19 write it: the window, 128 MB, must not fill up."""
    left = WIDE_MOST
    for piece in _framed(lambda: _zstd_stream(_WIDE_WINDOW), "zstd", data):
        left -= len(piece)
        if left < 0:
            raise UnreadableError(
                f"codec zstd: more than {WIDE_MOST} bytes with a window of more than 8 MiB, "
                "expected less of either"
            )
        yield piece


def _zstd_stream(window: int) -> zstd.ZstdDecompressor:
    return zstd.ZstdDecompressor(options={zstd.DecompressionParameter.window_log_max: window})


def _snappy(data: memoryview) -> Iterator[bytes]:
    if bytes(data[: len(_XERIAL)]) != _XERIAL:
        yield _snappy_block(data)
        return
    at = 0
    while at < len(data):
        if bytes(data[at : at + len(_XERIAL)]) == _XERIAL:
            at += _XERIAL_HEADER
            continue
        length = int.from_bytes(data[at : at + _LENGTH], "big")
        block = data[at + _LENGTH : at + _LENGTH + length]
        if len(block) < length or not length:
            raise UnreadableError(f"codec snappy: a block of {length} bytes, got {len(block)}")
        yield _snappy_block(block)
        at += _LENGTH + length


def _snappy_block(block: memoryview) -> bytes:
    length = cramjam.snappy.decompress_raw_len(block)
    if length > SNAPPY_MOST:
        raise UnreadableError(f"codec snappy: a block of {length} bytes, expected {SNAPPY_MOST}")
    return bytes(cramjam.snappy.decompress_raw(block))


_READERS: Final[dict[int, Callable[[memoryview], Iterator[bytes]]]] = {
    0: _plain,
    1: _gzip,
    2: _snappy,
    3: _lz4,
    4: _zstd,
}
