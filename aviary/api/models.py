"""What the API answers with and takes, as OpenAPI describes it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import Field, StringConstraints

from schemas.base import Model, ReleaseId, ServiceName, Version
from schemas.live import Live
from schemas.outside import TEXT_MOST
from schemas.release import CanaryStatus, ReleaseStatus


class CommandBody(Model):
    """A word to a release. Who says it is known by the token, and can't be claimed here."""

    reason: Annotated[
        str, StringConstraints(strip_whitespace=True, min_length=1, max_length=TEXT_MOST)
    ] = Field(description="Why; it stands in the history of the release.")
    service: ServiceName | None = Field(
        default=None, description="Only this service; all that the word applies to if left out."
    )


class PickBody(CommandBody):
    """Which version of an A/B test that has ended all users get."""

    version: Version = Field(description="The winner: the new version, or the old one.")


class Answered(Model):
    """What a release answered."""

    release: ReleaseId
    word: str
    by: str = Field(description="Who said it, as history and events name it.")
    answer: str


class ListedRelease(Model):
    """One release of a list: as Temporal's index has it, a moment late."""

    release: str
    state: str = Field(
        description="A state of releases; or Temporal's own word, such as terminated, where the "
        "release did not end by itself or Temporal does not have Aviary's search attributes."
    )
    started_at: datetime
    finished_at: datetime | None
    services: list[str]
    versions: list[str] = Field(description="All versions that it releases, each once.")
    environment: str | None
    verdict: str | None = Field(description="The last one.")
    cause: str | None = Field(description="Why it went back.")
    because_of: str | None = Field(description="The service with which going back began.")


class Listing(Model):
    """A page of releases, newest first."""

    releases: list[ListedRelease]
    after: str | None = Field(description="Asks for the next page; null: this is the last.")


class OneRelease(ReleaseStatus):
    """A release now."""

    canaries: dict[str, CanaryStatus] = Field(
        description="The answers of the canaries that run, by service."
    )
    live: dict[str, Live] = Field(description="What the judges of running bakes see, by service.")
    trouble: dict[str, str] = Field(description="What fails and is tried again, by service.")
    may: dict[str, str] = Field(
        description="The words that would do something now, and what each does."
    )
    links: dict[str, str] = Field(description="Pages about it.")


class WhoAmI(Model):
    """Who the caller is."""

    name: str
    roles: list[str]
    services: list[str] | None = Field(description="Patterns of its services; null: all.")
    words: list[str] = Field(description="What it may say to releases.")
    until: datetime | None = Field(description="When what proves it expires.")
