"""Whether a caller bears a token; compared in a time that says nothing of how much was right."""

from __future__ import annotations

import hmac
from typing import Final

from fastapi import Request
from pydantic import SecretStr

_BEARER: Final = "bearer "


def bearer_of(request: Request) -> str:
    """The bearer token of a request; empty where it has none."""
    given = request.headers.get("authorization", "")
    scheme, token = given[: len(_BEARER)], given[len(_BEARER) :]
    return token.strip(" \t") if scheme.lower() == _BEARER else ""


def bears(request: Request, token: SecretStr) -> bool:
    """Whether a request has this token as its bearer token."""
    wanted = token.get_secret_value().encode()
    return hmac.compare_digest(bearer_of(request).encode("latin-1", "replace"), wanted)
