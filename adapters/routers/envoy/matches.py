"""The matches of Envoy's routes for those whom a canary is for."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from adapters.routers.envoy import sources
from schemas.audience import AudienceBy, Condition, How, Match
from schemas.simple_regex import without

_PSEUDO = {AudienceBy.PATH: ":path", AudienceBy.HOST: ":authority", AudienceBy.METHOD: ":method"}
_PORT = "(:[0-9]+)?"
_QUERY = r"(\?.*)?"


def fits(match: Match) -> dict[str, Any]:
    """What a route matches, for one match of an audience: all of its conditions."""
    found: dict[str, list[dict[str, Any]]] = {}
    for one in match.conditions:
        for kind, matcher in _matcher(one).items():
            found.setdefault(kind, []).append(matcher)
    return dict(found)


def exactly(by: AudienceBy, name: str, value: str) -> dict[str, Any]:
    """What a route matches, for one header or cookie of a value."""
    return fits(Match(by=by, name=name, value=value))


def _matcher(one: Condition) -> Mapping[str, dict[str, Any]]:
    if one.by is AudienceBy.QUERY:
        return {"query_parameters": {"name": one.name, "string_match": _text(one)}}
    if one.by is AudienceBy.NETWORK:
        return {"filter_state": sources.within(one.value, negated=one.negated)}
    inverted = {"invert_match": True} if one.negated else {}
    if one.by is AudienceBy.COOKIE:
        return {"cookies": {"name": one.name, "string_match": _text(one), **inverted}}
    if one.by is AudienceBy.HEADER:
        # Without a value there is nothing that it should not have.
        missing = {"treat_missing_header_as_empty": True} if one.negated else {}
        plain = {"name": one.name, "string_match": _text(one)}
        return {"headers": {**plain, **inverted, **missing}}
    return {"headers": {"name": _PSEUDO[one.by], "string_match": _of_request(one), **inverted}}


def _text(one: Condition) -> dict[str, Any]:
    if one.how is How.REGEX:
        return {"safe_regex": {"regex": one.value}}
    return {"exact" if one.how is How.EQUAL else "prefix": one.value}


def _of_request(one: Condition) -> dict[str, Any]:
    """Of a path without its query, of a host without its port and in any case."""
    if one.by is AudienceBy.METHOD:
        return {"exact": one.value}
    is_path = one.by is AudienceBy.PATH
    if one.how is How.PREFIX:
        return {"prefix": one.value, **({} if is_path else {"ignore_case": True})}
    if one.how is How.EQUAL:
        value = re.escape(one.value)
    else:
        value = f"({without(one.value, '?' if is_path else ':')})"
    return {"safe_regex": {"regex": f"{value}{_QUERY}" if is_path else f"(?i){value}{_PORT}"}}
