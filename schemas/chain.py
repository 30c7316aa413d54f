"""The events of a release as a hash chain: each says what the one before it said, as a digest.

A digest is the SHA-256 of a canonical spelling of the digest before, the release, the number of the
link, and the whole event, so that none can be changed, left out or exchanged without a trace in
those that follow. What follows the last one is nothing: so the last says that it is the last, and
the release's own result keeps its digest in another place.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field

from schemas.base import Model
from schemas.canonical_json import canonical
from schemas.event_kinds import EventType
from schemas.events import CloudEvent

GENESIS: Final = "0" * 64
"""What the first link has for the digest before it."""
ENDS: Final = frozenset({EventType.RELEASE_FINALIZED.value, EventType.RELEASE_ROLLEDBACK.value})
"""Types of events of which a chain has one, which is its last."""
_PURPOSE: Final = b"aviary.chain.v1\n"
"""First in what is hashed: no digest of anything else is one of a link."""


class ChainEnd(Model):
    """Length and last digest of a chain: kept elsewhere, they show whether it was cut."""

    links: int = Field(ge=1)
    head: str = Field(pattern="^[0-9a-f]{64}$", description="Digest of the last link.")


class Chain:
    """Links the events of one release; deterministic, so that a replay makes the same."""

    def __init__(self) -> None:
        self._links = 0
        self._head = GENESIS
        self._anew = False
        self.ended = False
        """Whether its last event was linked: nothing can follow."""

    @property
    def end(self) -> ChainEnd | None:
        """Its length and head; None before it has ended."""
        return ChainEnd(links=self._links, head=self._head) if self.ended else None

    @property
    def next_number(self) -> int:
        """Of the link that comes next, from 0."""
        return self._links

    def begin_anew(self) -> None:
        """The release was reset: others may follow the same link already, and the next says so."""
        self._anew = True

    def link(self, event: CloudEvent) -> CloudEvent:
        """The event as the next link.

        Raises:
            ValueError: the chain has ended.
        """
        if self.ended:
            raise ValueError("chain: got another event, expected none after the last")
        linked = event.model_copy(
            update={
                "chainlink": self._links,
                "chainprevious": self._head,
                "chainreset": True if self._anew else None,
            }
        )
        digest = digest_of(json.loads(linked.wire()))
        self._links, self._head, self._anew = self._links + 1, digest, False
        self.ended = event.type in ENDS
        return linked.model_copy(update={"chaindigest": digest})


def digest_of(document: Mapping[str, Any]) -> str:
    """The digest of a link, from the event as it is read, without what it says of its own.

    Raises:
        ValueError: it holds what JSON can't, such as NaN.
    """
    content = {name: value for name, value in document.items() if name != "chaindigest"}
    place = [document.get(name) for name in ("chainprevious", "partitionkey", "chainlink")]
    return hashlib.sha256(_PURPOSE + canonical([*place, content])).hexdigest()
