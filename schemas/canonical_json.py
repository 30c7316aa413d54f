"""One spelling for each JSON value, so that whoever hashes it gets the same: RFC 8785.

It never raises for a value that JSON and text can hold: what is hashed inside a workflow must not
be able to stop it. Whole numbers beyond 2**53 keep all of their digits, where RFC 8785 has none.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from json.encoder import encode_basestring as _quoted
from typing import Any, Final

_PLAIN_BELOW: Final = 21
"""Numbers of so many digits before the point are written without an exponent."""
_PLAIN_ABOVE: Final = -6
"""The same of zeros after the point."""


def canonical(value: Any) -> bytes:
    """The value as RFC 8785 spells it, in UTF-8.

    Args:
        value: plain data, as a JSON parser makes it.

    Raises:
        ValueError: it holds what JSON can't: NaN, an infinity, half of a surrogate pair.
        TypeError: it holds something that is no plain data.
    """
    return "".join(_parts(value)).encode()


def _parts(value: Any) -> Iterator[str]:
    match value:
        case None:
            yield "null"
        case bool():
            yield "true" if value else "false"
        case str():
            yield _quoted(value)
        case int():
            yield str(value)
        case float():
            yield number(value)
        case Mapping():
            yield from _of_object(value)
        case Sequence():
            yield from _of_list(value)
        case _:
            raise TypeError(f"value: got {type(value).__name__}, expected plain data")


def _of_object(value: Mapping[str, Any]) -> Iterator[str]:
    mark = "{"
    for name in sorted(value, key=_by_units):
        yield f"{mark}{_quoted(name)}:"
        yield from _parts(value[name])
        mark = ","
    yield "{}" if mark == "{" else "}"


def _of_list(value: Sequence[Any]) -> Iterator[str]:
    mark = "["
    for one in value:
        yield mark
        yield from _parts(one)
        mark = ","
    yield "[]" if mark == "[" else "]"


def _by_units(name: str) -> bytes:
    """Names are ordered by UTF-16, as ECMAScript holds them."""
    return name.encode("utf-16-be", "surrogatepass")


def number(value: float) -> str:
    """A number as ECMAScript writes it: the shortest that reads back as the same.

    Raises:
        ValueError: it is NaN or an infinity.
    """
    if not math.isfinite(value):
        raise ValueError(f"number: got {value}, expected one that JSON has")
    if value == 0:
        return "0"
    sign = "-" if value < 0 else ""
    mantissa, _, exponent = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    point = len(whole) + int(exponent or 0)
    digits = (whole + fraction).lstrip("0")
    point -= len(whole + fraction) - len(digits)
    digits = digits.rstrip("0")
    return sign + _placed(digits, point)


def _placed(digits: str, point: int) -> str:
    """Significant digits, with the decimal point after so many of them."""
    if len(digits) <= point <= _PLAIN_BELOW:
        return digits + "0" * (point - len(digits))
    if 0 < point <= _PLAIN_BELOW:
        return f"{digits[:point]}.{digits[point:]}"
    if _PLAIN_ABOVE < point <= 0:
        return f"0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{digits[0]}{fraction}e{point - 1:+d}"
