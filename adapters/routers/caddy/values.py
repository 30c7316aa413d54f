"""Between Aviary's route and the line that Caddy reads of it at each request: both ways.

`<stable's pool>|<canary's pool>|<threshold>|<generation>|<owner>|<audience>`: whose hash begins
below the threshold is the canary's. What Caddy splits by is what is read back.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final
from urllib.parse import quote, unquote

from pydantic import ValidationError

from adapters.routers.caddy.capabilities import WEIGHTS
from adapters.routers.caddy.names import pool_name, version_in
from schemas.capabilities import Parts
from schemas.route import Audience, AudienceBy, Match, Route

_FIELDS: Final = 6
_HASHES: Final = 1 << 32
_ALL: Final = "g"
"""Sorts after every hexadecimal digit."""
_DIGITS_MOST: Final = 20


def value_of(route: Route) -> str:
    """What the file has for this route."""
    canary = "" if route.canary is None else pool_name(route.service, route.canary)
    fields = (
        pool_name(route.service, route.stable),
        canary,
        threshold(WEIGHTS.nearest(route.weight).canary),
        str(route.generation),
        quote(route.owner, safe=""),
        ",".join(map(_written, route.audience.any_of)) if route.audience is not None else "",
    )
    return "|".join(fields)


def route_of(service: str, value: str) -> Route | None:
    """The route that a line is; None where it is none of Aviary's."""
    fields = value.split("|")
    if len(fields) != _FIELDS or not _is_number(fields[3]):
        return None
    stable, canary, below, generation, owner, audience = fields
    one, other, parts = version_in(stable, service), version_in(canary, service), _parts(below)
    if one is None or parts is None or (canary and other is None):
        return None
    try:
        route = Route.split(
            service,
            one,
            other,
            Parts(WEIGHTS.total - parts, parts).weight,
            generation=int(generation),
            owner=unquote(owner),
            audience=_audience(audience),
        )
    except (ValidationError, ValueError):
        return None
    return route if value_of(route) == value else None


def threshold(parts: int) -> str:
    """The first hash, as eight hexadecimal digits, that is not the canary's.

    Args:
        parts: the canary's, of 10,000.
    """
    if parts == WEIGHTS.total:
        return _ALL
    return f"{-(-parts * _HASHES // WEIGHTS.total):08x}"


def _parts(below: str) -> int | None:
    if below == _ALL:
        return WEIGHTS.total
    try:
        parts = int(below, 16) * WEIGHTS.total // _HASHES
    except ValueError:
        return None
    return parts if 0 <= parts < WEIGHTS.total and threshold(parts) == below else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= _DIGITS_MOST


def _written(match: Match) -> str:
    name, value = (base64.b64encode(one.encode()).decode() for one in (match.name, match.value))
    return f"{match.by}:{name}:{value}"


def _audience(text: str) -> Audience | None:
    """Raises ValueError where it is none."""
    if not text:
        return None
    found = []
    for one in text.split(","):
        by, name, value = one.split(":")
        found.append(Match(by=AudienceBy(by), name=_plain(name), value=_plain(value)))
    return Audience(any_of=tuple(found))


def _plain(coded: str) -> str:
    try:
        return base64.b64decode(coded, validate=True).decode("ascii")
    except binascii.Error as error:
        raise ValueError(str(error)) from error
