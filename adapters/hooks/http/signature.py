"""Signatures as Standard Webhooks has them: HMAC-SHA256 over id, time and content."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
_LEAST, _MOST = 24, 64


def key_of(secret: str) -> bytes:
    """The key of a secret; the secret is not shown.

    Args:
        secret: base64 of 24 to 64 bytes, with `whsec_` before it or without.

    Raises:
        ValueError: it is something else.
    """
    expected = f"expected a secret of {PREFIX} and base64 of {_LEAST} to {_MOST} bytes"
    try:
        key = base64.b64decode(secret.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise ValueError(expected) from None
    if not _LEAST <= len(key) <= _MOST:
        raise ValueError(expected)
    return key


def signature(keys: Iterable[bytes], call: str, seconds: int, content: bytes) -> str:
    """The header `webhook-signature`: one signature for each key.

    Args:
        keys: of the secrets.
        call: the header `webhook-id`, without a full stop, which divides what is signed.
        seconds: the header `webhook-timestamp`, since the epoch.
        content: the body, byte by byte.
    """
    signed = b".".join((call.encode(), str(seconds).encode(), content))
    return " ".join(
        "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
        for key in keys
    )
