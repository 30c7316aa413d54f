"""Connections: the address and the credentials of a platform, as the settings name them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar, Final, get_args

from pydantic import SecretStr, model_validator
from pydantic_core import PydanticCustomError

from adapters.errors import Retryable
from adapters.secrets import Secret, unsendable
from schemas.base import Model

SECRET_REFUSED: Final = "aviary_secret"  # noqa: S105 - the type of an error
"""Type of the error about a secret: its context has `field` and `expected`."""
_FILE = "_file"
_IN_HEADERS = ("token", "key")
"""Names of secrets that go into a header as they are, which must be ASCII."""
_LEAST = 4
"""Characters of a secret that is looked for in texts; a shorter one is everywhere."""


class Connection(Model):
    """Base of what a kind needs to reach its platform.

    A secret is a field of type `Secret`, say `token`; the file of connections may give it as
    `token`, or as `token_file`, the path of a file that holds it and is read at each use.
    """

    connection_kind: ClassVar[str]
    """The name of this kind of connection; kinds of adapters may share one."""

    @model_validator(mode="before")
    @classmethod
    def _read_secrets(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        read = dict(value)
        for name in cls.secret_fields():
            given, file = read.get(name), read.pop(f"{name}{_FILE}", None)
            is_password = not name.endswith(_IN_HEADERS)
            if given is not None and file is not None:
                raise _refused(name, f"it or {name}{_FILE}, and not both")
            if isinstance(given, str):
                if not given.strip() or (why := unsendable(given, is_password=is_password)):
                    raise _refused(name, why if given.strip() else "some text")
                read[name] = Secret(SecretStr(given), is_password=is_password)
            elif file is not None:
                if not isinstance(file, str) or not file:
                    raise _refused(f"{name}{_FILE}", "a path")
                read[name] = Secret(file=Path(file), is_password=is_password)
        return read

    @classmethod
    def secret_fields(cls) -> tuple[str, ...]:
        """Names of the fields that hold secrets."""
        return tuple(
            name
            for name, field in cls.model_fields.items()
            if Secret in (field.annotation, *get_args(field.annotation))
        )

    def hide(self, text: str) -> str:
        """The text without any secret of this connection, whoever put it there."""
        for secret in sorted(self._secrets(), key=len, reverse=True):
            if len(secret) >= _LEAST:
                text = text.replace(secret, "(hidden)")
        return text

    def _secrets(self) -> Iterator[str]:
        for name in self.secret_fields():
            secret = getattr(self, name)
            if isinstance(secret, Secret):
                try:
                    yield secret.read()
                except Retryable:
                    continue  # nobody has it


def _refused(field: str, expected: str) -> PydanticCustomError:
    """Of a whole connection, as its secrets are read first; names the field all the same."""
    what = expected.removeprefix("expected ")
    return PydanticCustomError(
        SECRET_REFUSED, "{field}: expected {expected}", {"field": field, "expected": what}
    )
