"""The rules of Traefik's routers for those whom a canary is for."""

from __future__ import annotations

import json
import re
from typing import Final

from schemas.audience import AudienceBy, Condition, How, Match
from schemas.simple_regex import without

_EQUAL: Final = {
    AudienceBy.QUERY: "Query",
    AudienceBy.HEADER: "Header",
    AudienceBy.PATH: "Path",
    AudienceBy.METHOD: "Method",
    AudienceBy.NETWORK: "ClientIP",
}
_REGEX: Final = {
    AudienceBy.QUERY: "QueryRegexp",
    AudienceBy.HEADER: "HeaderRegexp",
    AudienceBy.PATH: "PathRegexp",
}


def fits(match: Match) -> str:
    """The rule for one match of an audience: all of its conditions."""
    rules = [_fits(one) for one in match.conditions]
    return rules[0] if len(rules) == 1 else f"({' && '.join(rules)})"


def quoted(text: str) -> str:
    """For a rule, whatever is in it: rules have the strings of Go, as JSON has them."""
    return json.dumps(text)


def _fits(one: Condition) -> str:
    rule = _of_cookie(one) if one.by is AudienceBy.COOKIE else _of_request(one)
    return f"!{rule}" if one.negated else rule


def _of_request(one: Condition) -> str:
    if one.how is How.EQUAL:
        return _call(_EQUAL[one.by], one.name, one.value)
    # Found anywhere, unless the expression says where.
    whole = f"^({one.value})$" if one.how is How.REGEX else f"^{re.escape(one.value)}"
    return _call(_REGEX[one.by], one.name, whole)


def _of_cookie(one: Condition) -> str:
    """In the header, where all cookies stand in one line."""
    value = re.escape(one.value)
    if one.how is How.PREFIX:
        value += "[^;]*"
    elif one.how is How.REGEX:
        value = f"({without(one.value, ';')})"
    pair = f'{re.escape(one.name)}="?{value}"?'
    return _call(_REGEX[AudienceBy.HEADER], "Cookie", f"(^|;) *{pair} *(;|$)")


def _call(name: str, *values: str) -> str:
    return f"{name}({', '.join(quoted(value) for value in values if value)})"
