"""The file that says who may call: tokens by name, each as its hash.

    tokens:
      shop-ci:
        sha256: 2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae
        roles: [deploy, read]
        services: [checkout, shop-*]
        expires: 2027-06-30

    issuers:
      github:
        issuer: https://token.actions.githubusercontent.com
        audience: https://webhook.example
        rules:
          - claims: {repository: acme/shop, ref: refs/heads/main}
            roles: [deploy, read]
            services: [checkout]

A token itself does not belong there. Of what is wrong no value is told: it may be one.
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationError, model_validator

from aviary.access_settings import is_loopback
from aviary.api.roles import Caller, Role, ServicePattern, matches
from schemas.base import Model
from schemas.document import read_yaml
from schemas.files import UnreadableError, decoded, read_regular
from schemas.outside import cut, visible
from schemas.problems import explain, show_path

PREFIX: Final = "aviary_"
"""Begins each token that is made here: what looks for secrets in code finds it."""
_MOST_BYTES: Final = 1_000_000
_MOST: Final = 1000
_TOLD: Final = 20
_NAME: Final = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}")


def _aware(moment: datetime) -> datetime:
    return moment if moment.tzinfo else moment.replace(tzinfo=UTC)


CallerName = Annotated[
    str,
    Field(
        pattern=rf"^{_NAME.pattern}$",
        description="Lower-case letters, digits and . _ -, at most 63.",
    ),
]
Moment = Annotated[datetime, AfterValidator(_aware)]
"""A date, or a time; of UTC where it says no other zone."""


class Rights(Model):
    """What somebody may do, and for which services."""

    roles: tuple[Role, ...] = Field(min_length=1, max_length=len(Role))
    services: tuple[ServicePattern, ...] | None = Field(
        default=None,
        min_length=1,
        max_length=1000,
        description="Of which services; all where it is left out.",
    )

    @model_validator(mode="after")
    def _alerts_are_of_all(self) -> Self:
        if Role.ALERTS in self.roles and self.services is not None:
            raise ValueError("expected no services beside the role alerts, which is for all")
        return self

    def caller(self, name: str, until: datetime | None = None) -> Caller:
        """Who has these rights."""
        return Caller(name, frozenset(self.roles), self.services, until)


class TokenEntry(Rights):
    """One token."""

    sha256: str = Field(
        pattern=r"^[0-9a-f]{64}$", description="SHA-256 of the token, as `aviary token new` says."
    )
    expires: Moment | None = Field(
        default=None, description="From when on it counts no more; never where it is left out."
    )


Algorithm = Literal[
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA"
]
"""Signatures by a key of which only the issuer has the secret half."""
Claim = str | bool | int
ClaimName = Annotated[str, Field(min_length=1, max_length=200)]


class Rule(Rights):
    """What those may do whose claims are so."""

    claims: dict[ClaimName, Claim] = Field(
        min_length=1,
        max_length=50,
        description="Each has to be so; in text, * stands for any characters. Of a claim that is a "
        "list, one value has to be.",
    )

    def fits(self, claims: Mapping[str, Any]) -> bool:
        """Whether a token has all of these claims."""
        return all(
            name in claims and _fits(wanted, claims[name]) for name, wanted in self.claims.items()
        )


def _fits(wanted: Claim, claimed: Any) -> bool:
    values = claimed if isinstance(claimed, list) else [claimed]
    if isinstance(wanted, str):
        return any(isinstance(one, str) and matches(wanted, one) for one in values)
    return any(type(one) is type(wanted) and one == wanted for one in values)


class Issuer(Model):
    """An OpenID provider whose ID tokens are taken."""

    issuer: str = Field(
        max_length=500,
        pattern=r"^https?://[^\s?#@]+$",
        description="Its address, exactly as its tokens have it; https.",
    )
    audience: str = Field(
        min_length=1, max_length=500, description="For whom the tokens have to be: this webhook."
    )
    algorithms: tuple[Algorithm, ...] = Field(default=("RS256", "ES256"), min_length=1)
    rules: tuple[Rule, ...] = Field(
        min_length=1, max_length=_MOST, description="The first that fits says what a caller may do."
    )

    @model_validator(mode="after")
    def _is_https(self) -> Self:
        parts = urlsplit(self.issuer)
        if parts.scheme != "https" and not is_loopback(parts.hostname or ""):
            raise ValueError("expected an issuer of https: others could answer in its place")
        return self


class CallersFile(Model):
    """Who may call."""

    issuers: dict[CallerName, Issuer] = Field(default_factory=dict, max_length=100)
    tokens: dict[CallerName, TokenEntry] = Field(default_factory=dict, max_length=_MOST)

    @model_validator(mode="after")
    def _names_are_of_one(self) -> Self:
        if "token" in self.issuers:
            raise ValueError("expected no issuer named token, which is how tokens are told")
        return self

    def bearer_of(self, token: str, now: datetime) -> Caller | None:
        """Whose token this is; None where it is nobody's, or has expired.

        Every hash is compared, in constant time: how long it takes says nothing of any of them. A
        token has 256 bits of chance, for which one SHA-256 is enough.
        """
        digest = digest_of(token)
        found: Caller | None = None
        for name, entry in self.tokens.items():
            if hmac.compare_digest(entry.sha256, digest):
                found = entry.caller(f"token:{name}", entry.expires)
        return None if found is None or _expired(found, now) else found


def _expired(caller: Caller, now: datetime) -> bool:
    return caller.until is not None and caller.until <= now


def new_token() -> str:
    """A new token: 256 bits of chance."""
    return PREFIX + secrets.token_urlsafe(32)


def digest_of(token: str) -> str:
    """The SHA-256 of a token, in hexadecimal digits."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


class CallersError(ValueError):
    """The file can't be used; one line for each fault, without any value."""


def read_callers(path: Path) -> CallersFile:
    """Read the file.

    Raises:
        CallersError: it can't be read, or is wrong.
    """
    try:
        document = read_yaml(decoded(read_regular(path, _MOST_BYTES)))
    except UnreadableError as error:
        raise CallersError(f"'{path}': expected {error}") from None
    expected = "readable YAML, each key once and as text"
    faults = [_Fault(one.path, expected, one.line) for one in document.complaints]
    found = None
    if not faults:
        found, faults = _validated(document.data)
    if found is not None:
        return found
    lines = [
        f"{path}{'' if line is None else f':{line}'}: {fault}"
        for fault in faults[:_TOLD]
        for line in (fault.line or document.line(fault.at),)
    ]
    more = [f"and {len(faults) - _TOLD:,} more"] if len(faults) > _TOLD else []
    raise CallersError("\n".join([*lines, *more]))


def checked(data: Any) -> CallersFile:
    """Callers from plain data, as the file would have them.

    Raises:
        CallersError: it is wrong.
    """
    found, faults = _validated(data)
    if found is None:
        raise CallersError("\n".join(map(str, faults[:_TOLD])))
    return found


@dataclass(frozen=True)
class _Fault:
    """One thing that is wrong."""

    at: tuple[int | str, ...]
    expected: str
    line: int | None = None

    def __str__(self) -> str:
        # A token that stands where a name should is not shown.
        at = self.at if all(map(_shows, self.at)) else self.at[:1]
        where = cut(visible(show_path(at)), 200)
        return f"{where + ': ' if where else ''}expected {self.expected}"


def _validated(data: Any) -> tuple[CallersFile | None, list[_Fault]]:
    try:
        return CallersFile.model_validate(data), []
    except ValidationError as error:
        schema: Mapping[str, Any] = CallersFile.model_json_schema()
        faults = []
        for details in error.errors(include_url=False):
            at = tuple(part for part in details["loc"] if part != "[key]")
            at = at[:-1] if details["type"] == "extra_forbidden" else at
            faults.append(_Fault(at, explain({**details, "input": None}, data, schema).expected))
        return None, faults


def _shows(part: int | str) -> bool:
    return isinstance(part, int) or (len(part) < len(PREFIX) + 32 and bool(_NAME.fullmatch(part)))
