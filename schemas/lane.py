"""A release's lane: by what requests that have met one of its canaries are known further in."""

from __future__ import annotations

from typing import Annotated, Any, Final, Self

from pydantic import Field, GetJsonSchemaHandler, model_validator
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from schemas.base import Model

BAGGAGE: Final = "baggage"
"""The header of W3C Baggage, which services pass on that are traced with OpenTelemetry."""
MEMBER: Final = "aviary-lane"
"""The lane's name among what baggage has."""
_TAKEN: Final = frozenset(
    {
        "aviary-user",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "expect",
        "forwarded",
        "host",
        "keep-alive",
        "te",
        "traceparent",
        "tracestate",
        "trailer",
        "transfer-encoding",
        "upgrade",
        "x-aviary-mirror",
        "x-canary",
        "x-request-id",
        "x-user-id",
    }
)
"""Headers that mean something else to a proxy."""


class LaneSpec(Model):
    """How a catalog's releases have lanes; `true` is written for one with baggage."""

    header: Annotated[
        str | None,
        Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$", description="A header's name."),
    ] = Field(
        default=None,
        description="The header that carries the lane, and that services pass on; left out: "
        "aviary-lane in W3C baggage.",
    )

    @model_validator(mode="before")
    @classmethod
    def _read_short_form(cls, value: Any) -> Any:
        return {} if value is True else value

    @model_validator(mode="after")
    def _of_its_own(self) -> Self:
        if self.header is not None and self.header.lower() in {BAGGAGE, *_TAKEN}:
            raise ValueError(f"header: expected one of its own, {self.header} means something else")
        return self

    @classmethod
    def __get_pydantic_json_schema__(
        cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        """Allow the short form."""
        return {"anyOf": [{"const": True}, handler(core_schema)]}

    @property
    def text(self) -> str:
        """What carries it, for a person."""
        return f"aviary-lane in {BAGGAGE}" if self.header is None else f"the header {self.header}"

    def of(self, release: str, run: str) -> Lane:
        """The lane of a release.

        Args:
            release: its id.
            run: an id of its own that callers can't guess, of which the last 16 digits count.
        """
        digits = run.replace("-", "").lower()[-16:]
        return Lane(name=f"{release}.{digits}", header=(self.header or BAGGAGE).lower())


class Lane(Model):
    """What a router looks for, and gives to what it sends to the canary."""

    name: str = Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,149}$",
        description="Of one release; nobody outside can guess it.",
    )
    header: str = Field(
        default=BAGGAGE,
        pattern=r"^[a-z0-9][a-z0-9_-]{0,99}$",
        description="The header that has it, among others perhaps.",
    )

    @property
    def member(self) -> str:
        """The lane as it stands in the header, alone or in a list with commas."""
        return f"{MEMBER}={self.name}" if self.header == BAGGAGE else self.name

    def is_in(self, value: str) -> bool:
        """Whether the header's value has it."""
        members = (one.partition(";")[0].partition("=") for one in value.split(","))
        if self.header != BAGGAGE:
            return self.name in {one.strip() for one in value.split(",")}
        return any((key.strip(), said.strip()) == (MEMBER, self.name) for key, _, said in members)
