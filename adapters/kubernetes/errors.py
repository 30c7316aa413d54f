"""What an API server's answer means: tried again, or never; always in the server's own words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

from adapters.errors import Retryable, Terminal
from schemas.outside import cut, one_line

_TEXT_MOST: Final = 1_000
_LONGEST_S: Final = 600.0
_AFTER: Final = re.compile(r"\d{1,6}", re.ASCII)

UNAUTHORIZED: Final = 401
FORBIDDEN: Final = 403
NOT_FOUND: Final = 404
CONFLICT: Final = 409
GONE: Final = 410
UNPROCESSABLE: Final = 422
TOO_MANY: Final = 429
_ERRORS: Final = 400
_SERVER: Final = 500
_LATER: Final = frozenset({408, 425, TOO_MANY})


class Busy(Retryable):
    """The API server wants to be asked later (429, 503), or is in trouble (5xx).

    Args:
        text: its words.
        status: of HTTP.
        after_s: seconds that it asks to wait; None: it does not say.
    """

    def __init__(self, text: str, status: int, after_s: float | None = None) -> None:
        super().__init__(text)
        self.status = status
        self.after_s = after_s


class Unauthorized(Retryable):
    """Our credentials are not taken (401): expired, or of nobody. A rotated token may be."""


class Denied(Retryable):
    """We may not do it (403), by RBAC, a quota or an admission controller: that may change.

    Args:
        text: the server's words.
        by_quota: whether a ResourceQuota forbids it.
        by_role: whether a role is missing.
    """

    def __init__(self, text: str, *, by_quota: bool = False, by_role: bool = False) -> None:
        super().__init__(text)
        self.by_quota = by_quota
        self.by_role = by_role


class Conflicted(Retryable):
    """Somebody else has written the object, made one of its name, or owns a field of it (409).

    Args:
        text: the server's words: they name the other manager.
        exists: whether there is an object of that name already.
    """

    def __init__(self, text: str, *, exists: bool = False) -> None:
        super().__init__(text)
        self.exists = exists


class Expired(Retryable):
    """A list or watch is too old to be gone on with (410): it has to begin anew."""


class Missing(Terminal):
    """There is no such object (404)."""


class UnknownKind(Terminal):
    """The API server has no such kind of objects: a CRD is not installed, or of another version."""


class Refused(Terminal):
    """The object is not what it should be (400, 413, 415, 422), or a webhook says so.

    Args:
        text: the server's words.
        status: of HTTP.
    """

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


def error_of(
    what: str, status: int, headers: Mapping[str, str], body: Any, path: str = ""
) -> Retryable | Terminal:
    """What an answer of class 4 or 5 means.

    Args:
        what: was asked, for a person: `GET deployments.apps shop/checkout`.
        status: of HTTP.
        headers: of the answer.
        body: the answer as JSON, a `Status`; anything else where it is none.
        path: that was asked, which says the version of a kind.
    """
    said = body if isinstance(body, dict) else {}
    words = one_line(str(said.get("message") or "")) or f"HTTP {status}"
    text = cut(f"{what}: {words}", _TEXT_MOST)
    if status in _LATER or status >= _SERVER:
        return Busy(text, status, _after(headers, said))
    if status == FORBIDDEN:
        is_role = " cannot " in words and "forbidden: User" in words
        return Denied(text, by_quota="exceeded quota" in words, by_role=is_role)
    if status == CONFLICT:
        return Conflicted(text, exists=said.get("reason") == "AlreadyExists")
    if status == NOT_FOUND:
        if _names_object(said):
            return Missing(text)
        why = "no such kind: its definition (CRD) is not there, or of another version"
        return UnknownKind(cut(f"{what}: {why} ({words}; asked at {path})", _TEXT_MOST))
    simple = {UNAUTHORIZED: Unauthorized, GONE: Expired}.get(status)
    return simple(text) if simple is not None else Refused(text, status)


def _names_object(said: Mapping[str, Any]) -> bool:
    """Whether an object is missing, and not its kind."""
    details = said.get("details")
    return isinstance(details, dict) and bool(details.get("name"))


def _after(headers: Mapping[str, str], said: Mapping[str, Any]) -> float | None:
    """Seconds, of the header or of the body; a date is left to us."""
    written = headers.get("retry-after", "").strip()
    if _AFTER.fullmatch(written):
        return min(float(written), _LONGEST_S)
    details = said.get("details")
    found = details.get("retryAfterSeconds") if isinstance(details, dict) else None
    return min(float(found), _LONGEST_S) if type(found) is int and found > 0 else None
