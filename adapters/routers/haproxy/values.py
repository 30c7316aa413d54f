"""Between Aviary's route and the value that HAProxy's map has for a service: both ways.

One line of the map is all of a route, so that one command changes it as a whole, and no request
sees half of it: `<stable's backend>|<canary's backend>|<parts>|<generation>|<owner>|<audience>`.
What HAProxy splits by is what is read back; there is no second copy that could say otherwise.
"""

from __future__ import annotations

import re
from typing import Any, Final
from urllib.parse import quote, unquote

from pydantic import ValidationError

from adapters.errors import Unsupported
from adapters.routers.haproxy.capabilities import WEIGHTS
from adapters.routers.haproxy.names import pool_name, version_in
from schemas.capabilities import Parts
from schemas.route import Audience, AudienceBy, Condition, How, Match, Route

_LONGEST: Final = 8_000
"""Characters of a value: a command and its answer have to fit into one buffer of HAProxy's."""
_FIELDS: Final = 6
_SIGNS: Final = {"=": How.EQUAL, "^": How.PREFIX}
_CONDITION: Final = re.compile(r"(!?)([a-z]+):([^=^&,]*)([=^])([^&,]*)")


def value_of(route: Route) -> str:
    """What the map has for this route.

    Raises:
        Unsupported: its audience is too long for HAProxy.
    """
    canary = "" if route.canary is None else pool_name(route.service, route.canary)
    fields = (
        pool_name(route.service, route.stable),
        canary,
        str(WEIGHTS.nearest(route.weight).canary),
        str(route.generation),
        quote(route.owner, safe=""),
        ",".join(map(_written, route.audience.any_of)) if route.audience is not None else "",
    )
    value = "|".join(fields)
    if len(value) > _LONGEST:
        raise Unsupported(
            f"{route.service}: the router can't do an audience of {len(fields[-1]):,} characters: "
            f"expected one with which its route has at most {_LONGEST:,}"
        )
    return value


def route_of(service: str, value: str) -> Route | None:
    """The route that a value is; None where it is none of Aviary's."""
    fields = value.split("|")
    if len(fields) != _FIELDS:
        return None
    stable, canary, parts, generation, owner, audience = fields
    if not (_is_number(parts) and _is_number(generation)):
        return None
    one, other = version_in(stable, service), version_in(canary, service)
    if one is None or (canary and other is None):
        return None
    try:
        share = Parts(WEIGHTS.total - int(parts), int(parts)).weight
        route = Route.split(
            service,
            one,
            other,
            share,
            generation=int(generation),
            owner=unquote(owner),
            audience=_audience(audience),
        )
    except (ValidationError, ValueError):
        return None
    return route if value_of(route) == value else None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdecimal() and len(text) <= 20  # noqa: PLR2004 - digits


def _written(match: Match) -> str:
    """`!path:^%2Fadmin&header:x-group=staff`: not with that prefix, and with that header."""
    return "&".join(map(_one_written, match.conditions))


def _one_written(one: Condition) -> str:
    sign = next(sign for sign, how in _SIGNS.items() if how is one.how)
    name, value = quote(one.name, safe=""), quote(one.value, safe="")
    return f"{'!' if one.negated else ''}{one.by}:{name}{sign}{value}"


def _audience(text: str) -> Audience | None:
    if not text:
        return None
    found = []
    for match in text.split(","):
        first, *also = (_condition(one) for one in match.split("&"))
        found.append(Match(**first, also=tuple(Condition(**one) for one in also)))
    return Audience(any_of=tuple(found))


def _condition(text: str) -> dict[str, Any]:
    said = _CONDITION.fullmatch(text)
    if said is None:
        raise ValueError(text)
    negated, by, name, sign, value = said.groups()
    return {
        "by": AudienceBy(by),
        "name": unquote(name),
        "value": unquote(value),
        "how": _SIGNS[sign],
        "negated": bool(negated),
    }
