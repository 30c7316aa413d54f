"""What keeps a user on a version, where a strategy says so itself."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.base import Duration, Model

LONGEST: Final = timedelta(days=400)
"""Of a cookie: browsers keep none for longer."""
_Name = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9!#$%&'*+.^_`|~-]{1,100}$", description="A token of RFC 9110.")
]


class StickyChoice(StrEnum):
    """By what a strategy can have users stay with a version."""

    HEADER = "header"
    """A header that names the user."""
    COOKIE = "cookie"
    """A cookie that names the user, and that the service gives."""
    SESSION = "session"
    """A cookie that the router gives."""
    ADDRESS = "address"
    """The address that the request comes from."""
    NOTHING = "nothing"
    """Each request is drawn anew."""


class SameSite(StrEnum):
    """With which requests a browser sends a cookie."""

    STRICT = "Strict"
    LAX = "Lax"
    NONE = "None"


class User(Model):
    """Where a request names its user: one of the two."""

    header: _Name | None = None
    cookie: _Name | None = None

    @model_validator(mode="after")
    def _one(self) -> Self:
        if (self.header is None) is (self.cookie is None):
            raise ValueError("expected header or cookie")
        return self


class Session(Model):
    """A cookie that the router gives to whoever has none."""

    cookie: _Name = "aviary-session"
    age: Duration = Field(
        default=timedelta(days=30),
        le=LONGEST,
        description="How long a browser keeps it; 0s: as long as it is open. At most 400 days.",
    )
    secure: bool = Field(default=False, description="Sent over TLS alone.")
    same_site: SameSite = SameSite.LAX

    @model_validator(mode="after")
    def _none_is_secure(self) -> Self:
        if self.same_site is SameSite.NONE and not self.secure:
            raise ValueError("same_site: expected secure: true with None, or browsers refuse it")
        return self


class Sticky(Model):
    """By what users stay with a version; `address` and `nothing` are written as a word."""

    user: User | None = Field(default=None, exclude_if=lambda one: one is None)
    session: Session | None = Field(default=None, exclude_if=lambda one: one is None)
    address: bool = Field(default=False, exclude_if=lambda one: not one)
    nothing: bool = Field(default=False, exclude_if=lambda one: not one)

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        if value in ("address", "nothing"):
            return {value: True}
        return {"session": {}} if value == "session" else value

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        said = (self.user is not None, self.session is not None, self.address, self.nothing)
        if sum(said) != 1:
            raise ValueError("expected one of user, session, address and nothing")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Allow the short forms."""
        words = {"enum": ["session", "address", "nothing"]}
        return {"anyOf": [words, handler(core_schema)]}

    @property
    def by(self) -> StickyChoice:
        """Which of them it is."""
        if self.user is not None:
            return StickyChoice.COOKIE if self.user.header is None else StickyChoice.HEADER
        if self.session is not None:
            return StickyChoice.SESSION
        return StickyChoice.ADDRESS if self.address else StickyChoice.NOTHING
