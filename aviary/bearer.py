"""Whether a caller bears a token; compared in a time that says nothing of how much was right."""

from __future__ import annotations

import hmac
from typing import Final

from fastapi import Request
from pydantic import SecretStr

_BEARER: Final = "bearer "


def bears(request: Request, token: SecretStr) -> bool:
    """Whether a request has this token as its bearer token."""
    given = request.headers.get("authorization", "")
    scheme, secret = given[: len(_BEARER)], given[len(_BEARER) :]
    wanted = token.get_secret_value().encode()
    same = hmac.compare_digest(secret.strip(" \t").encode("latin-1", "replace"), wanted)
    return same and scheme.lower() == _BEARER
