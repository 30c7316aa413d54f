"""Whom a canary is for, as a catalog says it: all of, any of and not, over what a request has."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, Self

from pydantic import (
    AfterValidator,
    ConfigDict,
    Field,
    GetJsonSchemaHandler,
    ValidationError,
    model_validator,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.audience import (
    MOST_CONDITIONS,
    MOST_MATCHES,
    NAMED,
    ONE_OF_IT,
    TARGETING_KEY,
    Audience,
    AudienceBy,
    Condition,
    How,
    Match,
)
from schemas.base import Model, SomePercent

EVERYBODY: Final = "everybody"
"""Named by a step that is for all in a strategy that is for an audience."""
USER_HEADER: Final = "x-user-id"
"""Where a request says who its user is."""
COUNTRY_HEADERS: Final = "cf-ipcountry, cloudfront-viewer-country, x-appengine-country"
"""Those that are usual."""
MOST_AUDIENCES: Final = 100
MOST_NAMED: Final = 20
_MOST_DEPTH: Final = 5
_MOST_VALUES: Final = MOST_MATCHES

HeaderName = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$", description="A token of RFC 9110.")
]
FieldName = Annotated[
    str,
    Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,99}$", description="Letters, digits, _ and -."),
]
AudienceName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$",
        description="Lower-case letters, digits, - and _, at most 63.",
    ),
]
_Value = Annotated[str, Field(max_length=256)]
_List = Annotated[tuple[_Value, ...], Field(min_length=1, max_length=_MOST_VALUES)]


class Values(Model):
    """What a value is compared with; written as text or a list, it has to be one of these."""

    equal: _List | None = Field(default=None, description="One of these.")
    prefix: _List | None = Field(default=None, description="It begins with one of these.")
    regex: _List | None = Field(
        default=None,
        description="The whole value matches one of these: a subset of RE2, docs/how-to/audiences.",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        if isinstance(value, str | list | tuple):
            value = {"equal": value}
        if not isinstance(value, dict):
            return value
        return {how: [one] if isinstance(one, str) else one for how, one in value.items()}

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if sum(one is not None for one in (self.equal, self.prefix, self.regex)) != 1:
            raise ValueError("expected one of equal, prefix and regex")
        return self

    @property
    def each(self) -> Iterator[tuple[How, str]]:
        """How, and with what."""
        found = ((How.EQUAL, self.equal), (How.PREFIX, self.prefix), (How.REGEX, self.regex))
        return ((how, value) for how, values in found for value in values or ())

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Allow the short forms."""
        one = {"type": "string", "maxLength": 256}
        some = {"type": "array", "items": one, "minItems": 1, "maxItems": _MOST_VALUES}
        whole = handler(core_schema)
        handler.resolve_ref_schema(whole)["properties"] |= {
            how.value: {"anyOf": [one, some]} for how in How
        }
        return {"anyOf": [one, some, whole]}


def _plain(values: Values | None) -> Values | None:
    if values is not None and values.equal is None:
        raise ValueError("expected one value, or a list: it is compared whole")
    return values


Whole = Annotated[Values | None, AfterValidator(_plain)]
_Named = Annotated[dict[HeaderName, Values], Field(max_length=MOST_CONDITIONS)]
_Fields = Annotated[dict[FieldName, Values], Field(max_length=MOST_CONDITIONS)]
_Several = Annotated[tuple["AudienceSpec", ...], Field(max_length=_MOST_VALUES)]


class AudienceSpec(Model):
    """Requests; of what is said here, all has to fit."""

    header: _Named = Field(default_factory=dict, description="By name, in any case.")
    cookie: _Named = Field(default_factory=dict, description="By name.")
    query: _Named = Field(default_factory=dict, description="Parameters of the query, by name.")
    path: Values | None = Field(default=None, description="Without the query.")
    host: Values | None = Field(default=None, description="In lower case, without the port.")
    method: Whole = Field(default=None, description="In capitals.")
    network: Whole = Field(
        default=None, description="Where the request comes from: 10.1.0.0/16, 2001:db8::/32."
    )
    country: Whole = Field(
        default=None, description="As the header country_header of the catalog says."
    )
    users: Whole = Field(
        default=None,
        description=f"Those of the header {USER_HEADER}; of a feature flag, of its targeting key.",
    )
    context: _Fields = Field(
        default_factory=dict,
        description="For feature flags: fields of the evaluation context, by name.",
    )
    all_of: _Several = Field(default=(), description="Each of these has to fit.")
    any_of: _Several = Field(default=(), description="One of these has to fit.")
    not_: AudienceSpec | None = Field(default=None, alias="not", description="What must not fit.")
    percent: SomePercent = Field(
        default=100.0,
        description="So many percent of these users alone: the weights of steps are shares of "
        "them. Only at the top.",
    )

    model_config = ConfigDict(populate_by_name=False)


@dataclass(frozen=True)
class NamedAudience:
    """An audience of a catalog, as routers are told it."""

    audience: Audience
    percent: float


class AudienceError(ValueError):
    """What is said of an audience can't be told to a router.

    Args:
        path: where, below the audience.
        value: what is there.
        expected: what should be.
    """

    def __init__(self, path: tuple[str | int, ...], value: Any, expected: str) -> None:
        """Keep the place apart."""
        super().__init__(expected)
        self.path = path
        self.value = value
        self.expected = expected


_Clause = tuple[Condition, ...]
_Path = tuple[str | int, ...]
_FIELDS: Final = {
    AudienceBy.HEADER: "header",
    AudienceBy.COOKIE: "cookie",
    AudienceBy.QUERY: "query",
    AudienceBy.PATH: "path",
    AudienceBy.HOST: "host",
    AudienceBy.METHOD: "method",
    AudienceBy.NETWORK: "network",
    AudienceBy.CONTEXT: "context",
}


def audience_of(
    spec: AudienceSpec, country_header: str | None, *, of_flag: bool = False
) -> NamedAudience:
    """What a router is told of an audience.

    Args:
        spec: as the catalog says it.
        country_header: the header that says the country; None: there is none.
        of_flag: whether it is for a feature flag, which knows its users by their targeting key.

    Raises:
        AudienceError: it says nothing, or too much, or fits nobody, or has a value that no request
            can have.
    """
    clauses = _Reader(country_header, of_flag).read(spec, (), negated=False, depth=1)
    matches = [_match(one) for one in clauses if not _never(one)]
    if not matches:
        raise AudienceError((), "an audience", "one that a request can fit")
    audience = Audience(any_of=tuple(dict.fromkeys(matches)))
    return NamedAudience(audience, spec.percent)


def _match(clause: _Clause) -> Match:
    first, *others = clause
    return Match(**first.model_dump(), also=tuple(others))


def _never(clause: _Clause) -> bool:
    """Whether two conditions of one value each can't fit at once."""
    values: dict[tuple[AudienceBy, str], str] = {}
    for one in clause:
        if one.how is How.EQUAL and not one.negated and one.by is not AudienceBy.NETWORK:
            name = one.name.lower() if one.by is AudienceBy.HEADER else one.name
            known = values.setdefault((one.by, name), one.value)
            if known != one.value:
                return True
    return False


@dataclass(frozen=True)
class _Reader:
    """Makes matches of what is said, each a list of conditions that all have to fit."""

    country_header: str | None
    of_flag: bool

    def read(self, spec: AudienceSpec, path: _Path, *, negated: bool, depth: int) -> list[_Clause]:
        """The matches of a specification, or of what it does not fit."""
        if depth > _MOST_DEPTH:
            raise AudienceError(path, "all_of, any_of or not", f"at most {_MOST_DEPTH} in another")
        if depth > 1 and spec.percent < 100.0:  # noqa: PLR2004 - percent
            expected = "no percent inside of all_of, any_of and not"
            raise AudienceError((*path, "percent"), spec.percent, expected)
        parts = list(self._parts(spec, path, negated=negated, depth=depth))
        if not parts:
            expected = f"at least one of {', '.join(_FIELDS.values())}, country, users, all_of, …"
            raise AudienceError(path, "an audience", expected)
        # What does not fit all lacks one; what fits none of several lacks each.
        return _some(parts, path) if negated else _every(parts, path)

    def _parts(
        self, spec: AudienceSpec, path: _Path, *, negated: bool, depth: int
    ) -> Iterator[list[_Clause]]:
        for by, name, values, at in self._said(spec, path):
            each = [_condition(by, name, one, at, negated=negated) for one in values.each]
            yield [tuple(each)] if negated else [(one,) for one in each]
        for index, one in enumerate(spec.all_of):
            yield self.read(one, (*path, "all_of", index), negated=negated, depth=depth + 1)
        if spec.any_of:
            several = [
                self.read(one, (*path, "any_of", index), negated=negated, depth=depth + 1)
                for index, one in enumerate(spec.any_of)
            ]
            yield _every(several, path) if negated else _some(several, path)
        if spec.not_ is not None:
            yield self.read(spec.not_, (*path, "not"), negated=not negated, depth=depth + 1)

    def _said(
        self, spec: AudienceSpec, path: _Path
    ) -> Iterator[tuple[AudienceBy, str, Values, _Path]]:
        for by in (*NAMED, AudienceBy.CONTEXT):
            named: Mapping[str, Values] = getattr(spec, _FIELDS[by])
            for name, values in named.items():
                yield by, name, values, (*path, _FIELDS[by], name)
        for by in ONE_OF_IT:
            if (found := getattr(spec, _FIELDS[by])) is not None:
                yield by, "", found, (*path, _FIELDS[by])
        if spec.country is not None:
            if self.country_header is None:
                expected = f"country_header in the catalog: the usual ones are {COUNTRY_HEADERS}"
                raise AudienceError((*path, "country"), _said_of(spec.country), expected)
            yield AudienceBy.HEADER, self.country_header, spec.country, (*path, "country")
        if spec.users is not None:
            said = (
                (AudienceBy.CONTEXT, TARGETING_KEY)
                if self.of_flag
                else (AudienceBy.HEADER, USER_HEADER)
            )
            yield *said, spec.users, (*path, "users")


def _said_of(values: Values) -> list[str]:
    return [value for _, value in values.each]


def _condition(
    by: AudienceBy, name: str, said: tuple[How, str], path: _Path, *, negated: bool
) -> Condition:
    how, value = said
    try:
        return Condition(by=by, name=name, how=how, value=value, negated=negated)
    except ValidationError as error:
        (first, *_) = error.errors(include_url=False)
        text = first["msg"].removeprefix("Value error, ").removeprefix("expected ")
        if first["type"] == "string_pattern_mismatch":
            text = "printable ASCII, at most 256 characters, no blank at either end"
        raise AudienceError(path, value, text) from None


def _some(parts: Iterable[list[_Clause]], path: _Path) -> list[_Clause]:
    """One of them has to fit."""
    return _bounded([clause for part in parts for clause in part], path)


def _every(parts: Iterable[list[_Clause]], path: _Path) -> list[_Clause]:
    """Each of them has to fit: every combination."""
    found: list[_Clause] = [()]
    for part in parts:
        if len(found) * len(part) > MOST_MATCHES:
            raise _too_many(path)
        found = [tuple(dict.fromkeys((*one, *other))) for one in found for other in part]
    return _bounded(found, path)


def _bounded(clauses: list[_Clause], path: _Path) -> list[_Clause]:
    if len(clauses) > MOST_MATCHES:
        raise _too_many(path)
    if any(len(clause) > MOST_CONDITIONS for clause in clauses):
        raise AudienceError(path, "an audience", f"at most {MOST_CONDITIONS} conditions at a time")
    return clauses


def _too_many(path: _Path) -> AudienceError:
    return AudienceError(path, "an audience", f"at most {MOST_MATCHES} combinations of its values")
