"""Admission: which releases may have their services now, and which wait.

The catalog's section `admission`, and what releases and the admission workflow say to each other.
"""

from __future__ import annotations

import base64
import zlib
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Self

from pydantic import Field
from pydantic_core import from_json, to_json

from schemas.base import Duration, Model, ReleaseId, ServiceName, Version
from schemas.outside import Text


class Busy(StrEnum):
    """What a release does that finds one of its services taken."""

    QUEUE = "queue"
    """Waits; first come, first served."""
    REJECT = "reject"
    """Ends at once."""
    SUPERSEDE = "supersede"
    """Has the older release rolled back, and starts when that is done."""


class AdmissionPolicy(Model):
    """What happens when a release wants services that another one has."""

    busy: Busy = Field(
        default=Busy.QUEUE, description="What a release does that finds a service taken."
    )
    coalesce: bool = Field(
        default=False,
        description="Of queued releases of the same services, only the newest stays.",
    )


class Entry(Model):
    """One release in the queue."""

    release: ReleaseId
    run: str = Field(description="The run of its workflow: a reset release is another one.")
    services: tuple[ServiceName, ...]
    policy: AdmissionPolicy = AdmissionPolicy()
    since: datetime = Field(description="When the release began.")
    place: datetime = Field(
        description="Its place in the queue: `since`, or that of a queued release it replaced."
    )

    def clashes(self, other: Entry) -> bool:
        """Whether both want a service."""
        return not set(self.services).isdisjoint(other.services)


class Ask(Model):
    """A release asks for all of its services, or says that it has them."""

    entry: Entry
    holding: bool = Field(default=False, description="It was admitted, and still goes on.")
    poll: Duration = Field(
        default=timedelta(seconds=10), description="How often to look whether others have ended."
    )


class Revert(Model):
    """From a release that waits to one that has what it waits for: what it wants."""

    release: ReleaseId
    since: datetime = Field(description="When the release began that wants it.")
    services: dict[ServiceName, Version]


class Leave(Model):
    """A release has ended, and leaves its services to others."""

    release: ReleaseId
    run: str


class Answered(StrEnum):
    """What the admission says to a release."""

    ADMITTED = "admitted"
    """All its services are its own now."""
    QUEUED = "queued"
    BUSY = "busy"
    """Rejected, or a double claim: it must go back."""
    SUPERSEDED = "superseded"
    """A newer release takes its place: it must go back."""
    RESYNC = "resync"
    """The admission has lost its memory: the release is to ask again, or to say what it has."""


class Answer(Model):
    """The admission's word to a release."""

    answered: Answered
    text: Text = Field(default="", description="What it waits for, or why it must go back.")
    service: ServiceName | None = Field(default=None, description="Which of its services is taken.")
    place: datetime | None = Field(default=None, description="Its place in the queue.")
    holders: tuple[ReleaseId, ...] = Field(
        default=(), description="Releases that have what it waits for; the first of them."
    )
    at: datetime


PACKED_BYTES = 1024 * 1024
"""Most of the queue that a run starts with: Temporal refuses an input over 2 MB. That is more than
10,000 releases of some services each."""
SHOWN = 2000
_LEVEL = 6
_PACKED = {"holding", "waiting", "told", "left"}


class AdmissionState(Model):
    """All that the admission knows; also what it starts and continues with."""

    holding: tuple[Entry, ...] = ()
    waiting: tuple[Entry, ...] = ()
    told: dict[ReleaseId, str] = Field(
        default_factory=dict, description="What each release was told last."
    )
    left: tuple[str, ...] = Field(
        default=(), description="The latest runs that ended: a late word of theirs means nothing."
    )
    wait: int = Field(default=0, description="How many wait, where not all are shown.")
    packed: str = Field(
        default="", description="From one run to the next: all of the above, compressed."
    )
    poll: Duration = timedelta(seconds=10)
    resynced: bool = Field(default=False, description="Whether all that run have been asked.")
    most_events: int = Field(
        default=1000, ge=1, description="A longer history is left behind: it continues as new."
    )

    def pack(self, most: int = PACKED_BYTES) -> Self:
        """Small enough to start another run with.

        Where that can't be, it forgets who waits: the next run asks all releases where they are.
        """
        state: Self = self
        for _ in range(2):
            whole = to_json(state.model_dump(mode="json", include=_PACKED, exclude_defaults=True))
            packed = base64.b64encode(zlib.compress(whole, _LEVEL)).decode()
            if len(packed) <= most:
                break
            state = state.model_copy(update={"waiting": (), "told": {}, "resynced": False})
        empty = {"holding": (), "waiting": (), "told": {}, "left": (), "packed": packed}
        return state.model_copy(update=empty)

    def unpack(self) -> Self:
        """What was packed."""
        if not self.packed:
            return self
        whole = from_json(zlib.decompress(base64.b64decode(self.packed)))
        rest = self.model_dump(mode="json", exclude=_PACKED | {"packed"})
        return type(self).model_validate({**rest, **whole})

    def shown(self, most: int = SHOWN) -> Self:
        """For people and tests: the first of those who wait, and how many there are."""
        shown = {"waiting": self.waiting[:most], "told": {}, "wait": len(self.waiting)}
        return self.model_copy(update=shown)
