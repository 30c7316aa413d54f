"""Secrets: given, or in a file that is read anew at each use. None is ever shown."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import GetCoreSchemaHandler, GetJsonSchemaHandler, SecretStr
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

from adapters.errors import Retryable
from schemas.files import UnreadableError, read_regular

_MOST_BYTES: Final = 100_000


@dataclass(frozen=True)
class Secret:
    """A secret that is given, or one in a file, which is read anew at each use: tokens rotate."""

    given: SecretStr | None = None
    file: Path | None = None
    is_password: bool = False
    """Anything else goes into a header as it is, which must be ASCII."""

    def read(self) -> str:
        """The secret, without white space around it.

        Raises:
            Retryable: its file can't be read, is empty, or has what no client could send (whose
                error would show it); names the file alone.
        """
        text = self._read()
        if why := unsendable(text, is_password=self.is_password):
            raise Retryable(f"{self.file or 'a secret'}: {why}")
        return text

    def _read(self) -> str:
        if self.file is None:
            return self.given.get_secret_value() if self.given else ""
        try:
            content = read_regular(self.file, _MOST_BYTES)
        except UnreadableError as error:
            raise Retryable(f"{self.file}: expected a readable secret, that is {error}") from None
        try:
            text = content.decode().strip()
        except UnicodeDecodeError:  # which shows some of it
            raise Retryable(f"{self.file}: expected a readable secret (not UTF-8)") from None
        if not text:
            raise Retryable(f"{self.file}: empty, expected a secret")
        return text

    @classmethod
    def __get_pydantic_core_schema__(cls, _: Any, __: GetCoreSchemaHandler) -> CoreSchema:
        """A field of a connection: text, or a secret made already."""
        return core_schema.no_info_plain_validator_function(
            _taken, serialization=core_schema.plain_serializer_function_ser_schema(lambda _: None)
        )

    @classmethod
    def __get_pydantic_json_schema__(
        cls, _: CoreSchema, __: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Marked as a secret, as pydantic marks its own."""
        return {"type": "string", "format": "password", "writeOnly": True}


def _taken(value: Any) -> Secret:
    if isinstance(value, Secret):
        return value
    if not isinstance(value, str):
        raise ValueError("expected text, in quotes")  # noqa: TRY004 - pydantic wants ValueError
    return Secret(SecretStr(value))


def unsendable(secret: str, *, is_password: bool) -> str:
    """Why a secret can't be sent, which does not show it; empty if it can be."""
    if not secret.isprintable():
        return "expected one line of printable characters"
    if not is_password and not (secret.isascii() and " " not in secret):
        return "expected ASCII without white space"
    return ""
