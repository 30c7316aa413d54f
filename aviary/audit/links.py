"""One record as a link of a release's hash chain. Pure, for records of anybody."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from schemas.chain import ENDS, digest_of
from schemas.event_kinds import EventType
from schemas.outside import NAME_MOST, cut
from schemas.rejection import Rejected, load_json

VALUES_MOST: Final = 200_000
"""Of one event, fields and items at all levels."""
_DIGEST_LENGTH: Final = 64
_NUMBER_MOST: Final = 2**53
_SCOPES: Final = frozenset({"release", "canary", "decision", "evidence"})
_LINKED: Final = frozenset(one.value for one in EventType if one.split(".")[2] in _SCOPES)
"""Types of events that a release tells: each of them is a link."""


@dataclass(frozen=True, slots=True)
class Link:
    """What is kept of one link."""

    release: str
    number: int
    previous: str
    digest: str
    """As the link says."""
    actual: str
    """Of what stands in it; another than it says, when that was changed."""
    type: str
    time: str
    reset: bool
    """The first after its release was reset."""
    length: int | None
    """Of the chain, as its last link says."""
    where: str
    """File and line, or partition and offset."""

    @property
    def changed(self) -> bool:
        """Whether it does not say what it said when it was made."""
        return self.digest != self.actual

    @property
    def ends(self) -> bool:
        """Whether it is the last of its chain."""
        return self.type in ENDS

    @property
    def same(self) -> tuple[str, str]:
        """Equal for two copies of one link."""
        return self.digest, self.actual


@dataclass(frozen=True, slots=True)
class Flaw:
    """A record that is no link, and should be."""

    release: str | None
    linked: bool
    """False: an event of a release without its place in the chain. True: it can't be read."""
    text: str
    where: str


def event_in(value: bytes | None) -> dict[str, Any] | None:
    """The event of a record; None where there is none that can be read."""
    try:
        document = load_json(value, values=VALUES_MOST)
    except Rejected:
        return None
    return document if isinstance(document, dict) else None


def read_record(value: bytes | None, where: str) -> Link | Flaw | None:
    """A record of `aviary.events` or of a file.

    Args:
        value: the record.
        where: of whom findings speak.

    Returns:
        A link; what is wrong with it; None for an event of somebody else than a release.
    """
    try:
        document = load_json(value, values=VALUES_MOST)
    except Rejected as why:
        return Flaw(None, linked=True, text=cut(why.text, NAME_MOST), where=where)
    if not isinstance(document, dict):
        return Flaw(None, linked=True, text="no event: expected a JSON object", where=where)
    named = document.get("partitionkey")
    release = cut(named, NAME_MOST) if isinstance(named, str) else None
    if "chaindigest" not in document:
        if document.get("type") not in _LINKED:
            return None
        text = "an event of a release without a digest"
        return Flaw(release, linked=False, text=text, where=where)
    try:
        return _link(document, where)
    except ValueError as error:
        return Flaw(release, linked=True, text=cut(str(error), NAME_MOST), where=where)


def _link(document: Mapping[str, Any], where: str) -> Link:
    data = document.get("data")
    length = data.get("links") if isinstance(data, dict) else None
    return Link(
        release=cut(_text(document, "partitionkey"), NAME_MOST),
        number=_number(document),
        previous=_digest(document, "chainprevious"),
        digest=_digest(document, "chaindigest"),
        actual=digest_of(document),
        type=cut(_text(document, "type"), NAME_MOST),
        time=cut(_text(document, "time"), NAME_MOST),
        reset=document.get("chainreset") is True,
        length=length if isinstance(length, int) else None,
        where=where,
    )


def _text(document: Mapping[str, Any], name: str) -> str:
    value = document.get(name)
    if not isinstance(value, str) or not value:
        raise ValueError(f"{name}: expected a text")
    return value


def _digest(document: Mapping[str, Any], name: str) -> str:
    value = _text(document, name)
    if len(value) != _DIGEST_LENGTH or set(value) - set("0123456789abcdef"):
        raise ValueError(f"{name}: expected {_DIGEST_LENGTH} characters of hex")
    return value


def _number(document: Mapping[str, Any]) -> int:
    value = document.get("chainlink")
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _NUMBER_MOST:
        raise ValueError("chainlink: expected a whole number from 0")
    return value
