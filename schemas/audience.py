"""Whom a canary is for, as routers are told it: what of a request decides, and how.

An audience is a list of matches of which one has to fit, each perhaps with further conditions that
all have to fit as well. What a catalog says with all of, any of and not becomes that
(`schemas.audience_spec`), so that a router needs to know no more.
"""

from __future__ import annotations

import re
from enum import StrEnum
from ipaddress import ip_network
from math import prod
from typing import Annotated, Final, NamedTuple, Self

from pydantic import Field, StringConstraints, model_validator

from schemas.base import Model, SomePercent
from schemas.simple_regex import check_regex

MOST_MATCHES: Final = 200
"""Of an audience; what one router can do may be less (`schemas.capabilities`)."""
MOST_CONDITIONS: Final = 10
"""That have to fit at the same time."""

_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?")
_METHOD = re.compile(r"[A-Z][A-Z-]{0,19}")
_FIELD = re.compile(r"[A-Za-z_][A-Za-z0-9_-]{0,99}")
_PATH = re.compile(r"/[A-Za-z0-9._~!$&'()*+,;=:@%/-]{0,255}")


class AudienceBy(StrEnum):
    """By what of a request, or of a user, a router can tell whom a canary is for."""

    HEADER = "header"
    COOKIE = "cookie"
    QUERY = "query"
    PATH = "path"
    HOST = "host"
    METHOD = "method"
    NETWORK = "network"
    CONTEXT = "context"
    """A field of a feature flag's evaluation context: what the application says of its user."""


NAMED: Final = (AudienceBy.HEADER, AudienceBy.COOKIE, AudienceBy.QUERY)
"""Those of which a request may have several, each with a name."""
ONE_OF_IT: Final = (AudienceBy.PATH, AudienceBy.HOST, AudienceBy.METHOD, AudienceBy.NETWORK)
"""Those of which it has one."""
TARGETING_KEY: Final = "targetingKey"
"""The field of an evaluation context that says who the user is, as OpenFeature calls it."""
PLAIN: Final = (AudienceBy.METHOD, AudienceBy.NETWORK)
"""Those that are compared whole: a method has no beginning worth the name, a network is one."""


class How(StrEnum):
    """How a value is compared."""

    EQUAL = "equal"
    PREFIX = "prefix"
    REGEX = "regex"
    """With the whole value."""


class Condition(Model):
    """One thing that a request has, or has not."""

    by: AudienceBy
    name: str = Field(
        default="",
        pattern=r"^([A-Za-z0-9!#$%&'*+.^_`|~-]{1,100})?$",
        description="Of the header (in any case), cookie or query parameter: a token of RFC 9110; "
        "of the context's field: letters, digits, _ and -. Empty for the others.",
    )
    value: Annotated[str, StringConstraints(pattern=r"^[!-~]([ -~]{0,254}[!-~])?$")] = Field(
        description="Printable ASCII, at most 256 characters, no blank at either end."
    )
    how: How = Field(default=How.EQUAL, exclude_if=lambda how: how is How.EQUAL)
    negated: bool = Field(
        default=False,
        exclude_if=lambda negated: not negated,
        description="It fits what does not have this, or has nothing of it.",
    )

    @property
    def text(self) -> str:
        """For a person: `header x-group = staff`, `path not with the prefix /admin`."""
        words = {How.EQUAL: "=", How.PREFIX: "begins with", How.REGEX: "matches"}
        subject = " ".join(filter(None, (self.by.value, self.name)))
        return f"{subject} {'not ' if self.negated else ''}{words[self.how]} {self.value}"

    @model_validator(mode="after")
    def _makes_sense(self) -> Self:
        has_name = self.by in NAMED or self.by is AudienceBy.CONTEXT
        if has_name is not bool(self.name):
            wanted = "a name" if has_name else "no name"
            raise ValueError(f"name: expected {wanted} for a {self.by.value}, got {self.name!r}")
        if self.by is AudienceBy.CONTEXT and not _FIELD.fullmatch(self.name):
            raise ValueError("expected a field's name of letters, digits, _ and -")
        if self.by in PLAIN and self.how is not How.EQUAL:
            raise ValueError(f"how: expected equal for a {self.by.value}, got {self.how.value}")
        if self.how is How.REGEX:
            check_regex(self.value)
        else:
            _check_value(self.by, self.value, whole=self.how is How.EQUAL)
        return self


def _check_value(by: AudienceBy, value: str, *, whole: bool) -> None:
    """Refuse a value that no request can have.

    Raises:
        ValueError: what was expected.
    """
    if by is AudienceBy.PATH and not _PATH.fullmatch(value):
        raise ValueError("expected a path that begins with / and has no query")
    if by is AudienceBy.HOST and not _HOST.fullmatch(value if whole else value.rstrip(".-")):
        raise ValueError("expected a host in lower case, without a port")
    if by is AudienceBy.METHOD and not _METHOD.fullmatch(value):
        raise ValueError("expected a method in capitals")
    if by is AudienceBy.NETWORK:
        try:
            written = str(ip_network(value))
        except ValueError:
            written = ""
        if written != value:
            raise ValueError("expected a network such as 10.1.0.0/16 or 2001:db8::/32")


class Match(Condition):
    """A condition, perhaps with others that have to fit as well."""

    also: tuple[Condition, ...] = Field(
        default=(),
        max_length=MOST_CONDITIONS - 1,
        exclude_if=lambda also: not also,
        description="All of these have to fit, too.",
    )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """All that has to fit."""
        return (self, *self.also)

    @property
    def all_text(self) -> str:
        """For a person: `header x-group = staff and path begins with /shop`."""
        return " and ".join(one.text for one in self.conditions)


class Term(NamedTuple):
    """A part of an audience: something has one of these values, or none of them."""

    by: AudienceBy
    name: str
    how: How
    negated: bool
    values: tuple[str, ...]


class Audience(Model):
    """The requests that the canary is for: the weights split these, all others go to stable."""

    any_of: tuple[Match, ...] = Field(
        min_length=1, max_length=MOST_MATCHES, description="One that fits is enough."
    )

    @property
    def conditions(self) -> tuple[Condition, ...]:
        """Every condition of it."""
        return tuple(one for match in self.any_of for one in match.conditions)

    @property
    def terms(self) -> tuple[Term, ...] | None:
        """Terms that say the same, and have to fit all; None: its matches are about other things.

        Lists of values of one field, or of each of several, are such terms; alternatives are not.
        """
        each = [_grouped(match.conditions) for match in self.any_of]
        if any(one.keys() != each[0].keys() for one in each):
            return None
        values = {key: dict.fromkeys(one[key] for one in each) for key in each[0]}
        for key, several in values.items():
            if len(several) > 1 if key.negated else any(len(one) > 1 for one in several):
                return None
        distinct = {tuple(one.values()) for one in each}
        if len(distinct) < prod(map(len, values.values())):
            return None
        return tuple(
            key._replace(values=tuple(value for one in several for value in one))
            for key, several in values.items()
        )

    @property
    def text(self) -> str:
        """For a person, the first few of many: `header x-group = staff, or 3 more`."""
        first = [match.all_text for match in self.any_of[:2]]
        more = len(self.any_of) - len(first)
        return ", or ".join([*first, *([f"{more} more"] if more else [])])


def _grouped(conditions: tuple[Condition, ...]) -> dict[Term, tuple[str, ...]]:
    """The values of the conditions that are about the same, all in one order."""
    found: dict[Term, tuple[str, ...]] = {}
    for one in sorted(conditions, key=lambda one: (one.by, one.name, one.how, one.value)):
        key = Term(one.by, one.name, one.how, one.negated, ())
        found[key] = tuple(dict.fromkeys((*found.get(key, ()), one.value)))
    return dict(sorted(found.items()))


class AudienceShare(Model):
    """A share of the requests of an audience."""

    audience: Audience | None = Field(default=None, description="None: everybody.")
    weight: SomePercent = Field(description="The canary's share of their requests, percent.")
