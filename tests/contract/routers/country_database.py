"""A MaxMind database of countries, as small as can be: networks of IPv4, and a code for each."""

from __future__ import annotations

from collections.abc import Mapping
from ipaddress import IPv4Network
from typing import Final

_MAP, _TEXT, _LIST = 7, 2, 11
_U16, _U32, _U64 = 5, 6, 9
_RECORD: Final = 3
"""Bytes of a record of the search tree."""
_GAP: Final = 16
"""Zero bytes between the search tree and the data."""


def database(countries: Mapping[str, str]) -> bytes:
    """The file, in version 2 of the format.

    Args:
        countries: the code of each network, such as 10.1.0.0/16; none is in another.
    """
    data = b""
    places: dict[str, int] = {}
    for code in sorted(set(countries.values())):
        places[code] = len(data)
        data += _map(country=_map(iso_code=_text(code)))
    nodes: list[list[int | str | None]] = [[None, None]]
    for network, code in countries.items():
        _put(nodes, IPv4Network(network), code)
    count = len(nodes)

    def record(one: int | str | None) -> bytes:
        at = count if one is None else one
        at = count + _GAP + places[at] if isinstance(at, str) else at
        return at.to_bytes(_RECORD, "big")

    tree = b"".join(record(one) for node in nodes for one in node)
    about = _map(
        node_count=_number(_U32, count),
        record_size=_number(_U16, 8 * _RECORD),
        ip_version=_number(_U16, 4),
        database_type=_text("GeoLite2-Country"),
        languages=_head(_LIST, 1) + _text("en"),
        binary_format_major_version=_number(_U16, 2),
        binary_format_minor_version=_number(_U16, 0),
        build_epoch=_number(_U64, 1_700_000_000),
        description=_map(en=_text("for tests")),
    )
    return tree + bytes(_GAP) + data + b"\xab\xcd\xefMaxMind.com" + about


def _put(nodes: list[list[int | str | None]], network: IPv4Network, code: str) -> None:
    bits = f"{int(network.network_address):032b}"[: network.prefixlen]
    at = 0
    for bit in bits[:-1]:
        below = nodes[at][int(bit)]
        if below is None:
            nodes.append([None, None])
            nodes[at][int(bit)] = below = len(nodes) - 1
        assert isinstance(below, int), "a network in another"
        at = below
    nodes[at][int(bits[-1])] = code


def _head(kind: int, size: int) -> bytes:
    """What stands before a value; kinds above 7 are told in a byte of their own."""
    if kind > _MAP:
        return bytes([size, kind - _MAP])
    return bytes([kind << 5 | size]) if size < 29 else bytes([kind << 5 | 29, size - 29])


def _text(text: str) -> bytes:
    return _head(_TEXT, len(text)) + text.encode()


def _number(kind: int, number: int) -> bytes:
    digits = number.to_bytes(8, "big").lstrip(b"\0")
    return _head(kind, len(digits)) + digits


def _map(**values: bytes) -> bytes:
    return _head(_MAP, len(values)) + b"".join(_text(key) + one for key, one in values.items())
