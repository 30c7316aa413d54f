"""Where events are posted to, and what they are signed with."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import ClassVar, Final, Self

from pydantic import Field, model_validator

from adapters.hooks.http.signature import key_of
from adapters.http_connection import HttpConnection
from adapters.secrets import Secret

_ADDRESS: Final = re.compile(r"https?://[^\s/?#@]+(/[^\s#@]*)?(\?[^\s#]*)?")
_HEADER: Final = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}")
_HEADERS_MOST: Final = 20
_VALUE_MOST: Final = 4000
_OURS: Final = frozenset(
    {
        *("accept-encoding", "connection", "content-encoding", "content-length", "content-type"),
        *("expect", "host", "te", "trailer", "transfer-encoding", "upgrade", "traceparent"),
    }
)
"""Headers that say what is sent, and how."""


class HttpHookConnection(HttpConnection):
    """Where events are posted to, and what they are signed with."""

    connection_kind: ClassVar[str] = "http_hook"

    url: Secret = Field(description="Address that events are posted to; it may hold a secret.")
    secret: Secret = Field(
        description="Signs each event, as Standard Webhooks has it: `whsec_` and base64 of 24 to "
        "64 bytes."
    )
    previous_secret: Secret | None = Field(
        default=None, description="Signs each event as well, while the secret is being changed."
    )
    headers: dict[str, str] = Field(
        default_factory=dict,
        max_length=_HEADERS_MOST,
        description="Sent with each event; shown nowhere.",
    )

    @model_validator(mode="after")
    def _can_be_sent(self) -> Self:
        if self.url.given is not None:
            address_of(self.url.read())
        for secret in (self.secret, self.previous_secret):
            if secret is not None and secret.given is not None:
                key_of(secret.read())
        for name, value in self.headers.items():
            taken = name.lower() in _OURS or name.lower().startswith("webhook-")
            if not _HEADER.fullmatch(name) or taken:
                raise ValueError("expected headers by name, none of those that say what is sent")
            if not value.isascii() or not value.isprintable() or len(value) > _VALUE_MOST:
                raise ValueError("expected values of headers as one line of printable ASCII")
        return self

    def _secrets(self) -> Iterator[str]:
        yield from super()._secrets()
        yield from self.headers.values()


def address_of(text: str) -> str:
    """The address, if it is one; it is not shown.

    Raises:
        ValueError: it is none.
    """
    if not _ADDRESS.fullmatch(text):
        raise ValueError("expected the url as http:// or https://, without a user or a fragment")
    return text
