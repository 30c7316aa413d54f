"""Tokens of calls that may be answered later: who has one may answer that call, and no other.

A token is made of the call and a secret of the settings alone, so that nobody has to keep it: no
history has one, and it is proved by making it again.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Final

from adapters.errors import Retryable
from adapters.secrets import Secret

_LEAST: Final = 24
_MOST: Final = 400
_SHAPE: Final = re.compile(r"([A-Za-z0-9._-]{1,200})/([A-Za-z0-9_]{1,100})/([A-Za-z0-9_-]{43})")
_PURPOSE: Final = b"aviary hook answer v1"


@dataclass(frozen=True)
class Called:
    """What a token is for."""

    service: str
    call: str
    """The id of the call."""


@dataclass(frozen=True)
class AnswerTokens:
    """Makes tokens, and proves them.

    Args:
        secret: of at least 24 characters; another one ends all tokens that there are.
        cell: name of the installation, whose tokens are good for no other.
    """

    secret: Secret
    cell: str = ""

    def make(self, called: Called) -> str:
        """The token of a call: characters that an Authorization header takes.

        Raises:
            Retryable: the secret can't be read, or is too short.
        """
        return f"{called.service}/{called.call}/{self._proof(called)}"

    def read(self, token: str) -> Called | None:
        """What a token is for; None for what is none of ours.

        Raises:
            Retryable: the secret can't be read, or is too short.
        """
        found = _SHAPE.fullmatch(token) if len(token) <= _MOST else None
        called = Called(found[1], found[2]) if found else Called("", "")
        given = found[3] if found else ""
        # Made for what has no shape as well: how long the answer takes says nothing.
        proved = hmac.compare_digest(self._proof(called).encode(), given.encode())
        return called if found and proved else None

    def _proof(self, called: Called) -> str:
        key = self.secret.read().encode()
        if len(key) < _LEAST:
            raise Retryable(f"the secret of hook answers: expected at least {_LEAST} characters")
        parts = (_PURPOSE, self.cell.encode(), called.service.encode(), called.call.encode())
        proof = hmac.new(key, b"\0".join(parts), hashlib.sha256).digest()
        return base64.urlsafe_b64encode(proof).rstrip(b"=").decode()
