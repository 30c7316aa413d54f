"""ID tokens of an OpenID provider: whose they are, and what they prove.

A pipeline's own token (GitHub, GitLab) or a person's. Its signature is checked with the keys that
the issuer publishes, its claims against the file of callers. No other key, algorithm or address
that stands in the token itself is ever used.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any, Final
from urllib.parse import urlsplit

import httpx
import jwt
import structlog
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

from aviary.access_settings import is_loopback
from aviary.api.callers_file import CallersFile, Issuer
from aviary.api.problems import Problem
from aviary.api.roles import Caller
from schemas.outside import NAME_MOST, cut, visible

DISCOVERY: Final = "/.well-known/openid-configuration"
FRESH_S: Final = 600.0
"""How old keys may be before they are asked for again."""
STALE_S: Final = 86_400.0
"""How old keys may be while the issuer does not answer."""
REST_S: Final = 30.0
"""Between two questions of one issuer, whatever tokens come."""
LEEWAY_S: Final = 30.0
"""By how much clocks may differ."""
_BYTES_MOST: Final = 256 * 1024
_KEYS_MOST: Final = 100
_WITHIN_S: Final = 5.0
_RSA_BITS: Final = 2048
_TYPES: Final = {"RSA": ("RS", "PS"), "EC": ("ES",), "OKP": ("Ed",)}
"""The beginnings of the algorithms that a type of key is for."""
_log = structlog.get_logger("aviary.webhook")


class _Wrong(Exception):  # noqa: N818 - an answer, not a failure
    """Why a token proves nothing; names no value of it."""


@dataclass
class _Keys:
    """The keys of one issuer, as they were last published."""

    found: Mapping[str, jwt.PyJWK] = field(default_factory=dict)
    at: float | None = None
    """When they were brought; None: never."""
    asked: float | None = None
    lock: asyncio.Lock = field(default_factory=asyncio.Lock)


class Oidc:
    """Says whose an ID token is.

    Args:
        http: asks issuers.
        clock: the time.
        monotonic: seconds, never going back.
    """

    def __init__(
        self,
        http: httpx.AsyncClient,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._http = http
        self._clock = clock
        self._monotonic = monotonic
        self._keys: dict[str, _Keys] = {}

    async def caller(self, file: CallersFile, token: str) -> Caller:
        """Whose a token is, and what its claims let it do.

        Raises:
            Problem: it proves nothing (401), gives no rights (403), or its issuer can't be asked
                (503).
        """
        try:
            header, name, issuer = _claimed(file, token)
            key = await self._key(issuer, header)
            claims = _verified(token, key, issuer, self._clock().timestamp())
        except _Wrong as why:
            text = f"authorization: {why}"
            raise Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", text) from None
        who = cut(visible(f"{name}:{claims['sub']}"), NAME_MOST)
        until = datetime.fromtimestamp(min(claims["exp"], _LAST), UTC)
        for rule in issuer.rules:
            if rule.fits(claims):
                return rule.caller(who, until)
        text = f"{who}: no rule of {name} fits its claims"
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", text)

    async def _key(self, issuer: Issuer, header: Mapping[str, Any]) -> jwt.PyJWK:
        """The key by which a token says that it is signed.

        Raises:
            _Wrong: the issuer has no such key.
            Problem: it can't be asked.
        """
        keys = self._keys.setdefault(issuer.issuer, _Keys())
        async with keys.lock:
            now = self._monotonic()
            rested = keys.asked is None or now - keys.asked >= REST_S
            old = keys.at is None or now - keys.at >= FRESH_S
            if rested and (old or _chosen(keys.found, header) is None):
                keys.asked = now
                await self._bring(issuer, keys, now)
        if keys.at is None or self._monotonic() - keys.at >= STALE_S:
            text = "the issuer of the token can't be asked for its keys now"
            raise Problem(HTTPStatus.SERVICE_UNAVAILABLE, "issuer_away", text)
        key = _chosen(keys.found, header)
        if key is None:
            raise _Wrong("signed by no key that its issuer publishes for this algorithm")
        return key

    async def _bring(self, issuer: Issuer, keys: _Keys, now: float) -> None:
        try:
            async with asyncio.timeout(_WITHIN_S):
                about = await self._get(issuer.issuer.rstrip("/") + DISCOVERY)
                if about.get("issuer") != issuer.issuer:
                    raise ValueError("it names another issuer")  # noqa: TRY301
                address = about.get("jwks_uri")
                if not isinstance(address, str) or not is_trusted(address):
                    raise ValueError("jwks_uri: expected an address of https")  # noqa: TRY301
                keys.found = _read(await self._get(address))
                keys.at = now
        except (httpx.HTTPError, httpx.InvalidURL, TimeoutError, ValueError) as error:
            why = cut(visible(f"{type(error).__name__}: {error}"), 300)
            _log.warning("issuer_unanswered", issuer=issuer.issuer, error=why)

    async def _get(self, address: str) -> dict[str, Any]:
        """A JSON object of an issuer, no larger than such objects are; no redirect is followed."""
        body = bytearray()
        async with self._http.stream("GET", address, follow_redirects=False) as answer:
            if answer.status_code != HTTPStatus.OK:
                raise ValueError(f"answered {answer.status_code}")
            async for chunk in answer.aiter_bytes():
                body += chunk
                if len(body) > _BYTES_MOST:
                    raise ValueError(f"answered more than {_BYTES_MOST} bytes")
        try:
            found = json.loads(bytes(body))
        except RecursionError:
            raise ValueError("answered JSON that is too deep") from None
        if not isinstance(found, dict):
            raise ValueError("answered no JSON object")  # noqa: TRY004 - an answer's value
        return found


_LAST: Final = 253_402_300_799.0
"""The last second that has a date."""


def is_trusted(address: str) -> bool:
    """Whether what is asked there can't be answered by others: https, or this machine."""
    try:
        parts = urlsplit(address)
        host = parts.hostname or ""
    except ValueError:
        return False
    return (
        bool(host)
        and "@" not in parts.netloc
        and (parts.scheme == "https" or (parts.scheme == "http" and is_loopback(host)))
    )


def _claimed(file: CallersFile, token: str) -> tuple[Mapping[str, Any], str, Issuer]:
    """The header of a token, and the issuer that it claims; nothing of it is proved.

    Raises:
        _Wrong: it is no such token, or of nobody who is known here.
    """
    try:
        unproved = jwt.decode_complete(token, options={"verify_signature": False})
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise _Wrong("no ID token that can be read") from None
    header, claimed = unproved["header"], unproved["payload"].get("iss")
    for name, issuer in file.issuers.items():
        if claimed == issuer.issuer:
            if header.get("alg") not in issuer.algorithms:
                raise _Wrong("signed in a way that is not taken from its issuer")
            if "crit" in header or header.get("b64") is False:
                raise _Wrong("with a header that is not understood")
            return header, name, issuer
    raise _Wrong("of an issuer that is not known here")


def _read(answer: Mapping[str, Any]) -> dict[str, jwt.PyJWK]:
    """The keys for signatures of a key set; one that is not understood is left out."""
    listed = answer.get("keys")
    if not isinstance(listed, list) or len(listed) > _KEYS_MOST:
        raise ValueError(f"keys: expected a list of at most {_KEYS_MOST}")
    found: dict[str, jwt.PyJWK] = {}
    for at, one in enumerate(listed):
        if not isinstance(one, dict) or one.get("kty") not in _TYPES or one.get("use") == "enc":
            continue
        try:
            key = jwt.PyJWK(one)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            _log.info("issuer_key_left_out", error=type(error).__name__)
            continue
        if isinstance(key.key, RSAPublicKey) and key.key.key_size < _RSA_BITS:
            continue
        found[str(one.get("kid", f"\0{at}"))] = key
    return found


def _chosen(keys: Mapping[str, jwt.PyJWK], header: Mapping[str, Any]) -> jwt.PyJWK | None:
    """The key that a header names, if it is for the header's algorithm; the only one if none is."""
    name = header.get("kid")
    fitting = {
        kid: key
        for kid, key in keys.items()
        if str(header["alg"]).startswith(_TYPES[str(key.key_type)])
    }
    if name is None:
        return next(iter(fitting.values())) if len(fitting) == 1 else None
    return fitting.get(name) if isinstance(name, str) else None


def _verified(token: str, key: jwt.PyJWK, issuer: Issuer, now: float) -> dict[str, Any]:
    """The claims of a token that is what it says.

    Raises:
        _Wrong: it is not.
    """
    try:
        claims: dict[str, Any] = jwt.decode(
            token,
            key.key,
            algorithms=list(issuer.algorithms),
            audience=issuer.audience,
            issuer=issuer.issuer,
            options={
                "require": ["exp", "iat", "iss", "aud", "sub"],
                # By our clock, below.
                "verify_exp": False,
                "verify_nbf": False,
                "verify_iat": False,
            },
        )
    except jwt.InvalidAudienceError:
        raise _Wrong("for another audience") from None
    except (jwt.PyJWTError, ValueError, TypeError) as error:
        raise _Wrong(f"not valid ({type(error).__name__})") from None
    _check_times(claims, now)
    if not isinstance(claims["sub"], str) or not claims["sub"]:
        raise _Wrong("without a subject")
    return claims


def _check_times(claims: Mapping[str, Any], now: float) -> None:
    times: Sequence[tuple[str, float]] = [
        (name, _number(claims[name])) for name in ("exp", "iat", "nbf") if name in claims
    ]
    for name, at in times:
        if name == "exp" and at + LEEWAY_S <= now:
            raise _Wrong("expired")
        if name != "exp" and at - LEEWAY_S > now:
            raise _Wrong("not valid yet")


def _number(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e15:  # noqa: PLR2004 - any time
        raise _Wrong("with a time that is none")
    return float(value)
