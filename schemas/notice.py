"""A notice: one thing that a person should know, and which channels it goes to."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Annotated, Final

from pydantic import Field

from schemas.base import Model, ServiceName
from schemas.event_kinds import NoticeKind
from schemas.outside import Text


class Severity(StrEnum):
    """How much a notice asks of a person, least first."""

    INFO = "info"
    SUCCESS = "success"
    WARNING = "warning"
    """A person decides, or something is being put right."""
    FAILURE = "failure"
    """A release failed, or a person must mend something now."""

    def is_at_least(self, other: Severity) -> bool:
        """Whether it is as severe as another, or more so."""
        order = list(Severity)
        return order.index(self) >= order.index(other)


SEVERITIES: Final[Mapping[NoticeKind, Severity]] = MappingProxyType(
    {
        NoticeKind.STARTED: Severity.INFO,
        NoticeKind.WAITING: Severity.WARNING,
        NoticeKind.ROLLING_BACK: Severity.WARNING,
        NoticeKind.ROLLED_BACK: Severity.FAILURE,
        NoticeKind.STUCK: Severity.FAILURE,
        NoticeKind.FINISHED: Severity.SUCCESS,
        NoticeKind.DRIFT: Severity.WARNING,
        NoticeKind.STALE: Severity.INFO,
    }
)
"""The severity of each kind."""

_WORDS: Final[Mapping[NoticeKind, str]] = MappingProxyType(
    {
        NoticeKind.STARTED: "started",
        NoticeKind.WAITING: "waits for a person",
        NoticeKind.ROLLING_BACK: "rolls back",
        NoticeKind.ROLLED_BACK: "rolled back",
        NoticeKind.STUCK: "is stuck",
        NoticeKind.FINISHED: "finished",
        NoticeKind.DRIFT: "was left behind",
        NoticeKind.STALE: "is stale",
    }
)


class Notice(Model):
    """One notice about a release or one of its services."""

    kind: NoticeKind
    release: str
    service: str | None = None
    text: Text
    at: datetime
    version: str | None = Field(default=None, description="Of the service.")
    services: tuple[str, ...] = Field(
        default=(), description="All services of the release; empty when that is not known."
    )
    environment: str = ""
    labels: dict[str, str] = Field(
        default_factory=dict,
        exclude_if=lambda labels: not labels,
        description="Those of the release that say which commit it is made of.",
    )

    @property
    def severity(self) -> Severity:
        """How much it asks of a person."""
        return SEVERITIES[self.kind]

    @property
    def title(self) -> str:
        """One line: which release, what of it, and what happened."""
        who = f"{self.service} of {self.release}" if self.service else self.release
        where = "" if self.environment in {"", "default"} else f" ({self.environment})"
        return f"{who} {_WORDS[self.kind]}{where}"

    @property
    def concerns(self) -> frozenset[str]:
        """The services it is about: its own, or all of its release."""
        return frozenset({self.service} if self.service else self.services)


ChannelName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9_-]{0,61}[a-z0-9])?$",
        description="A channel of the settings: lower-case letters, digits, _ and -, at most 63.",
    ),
]
"""The name of a channel. Where it leads is a secret, and only in the settings."""


class NoticeRule(Model):
    """Which notices go to one channel; several rules of a channel add up."""

    channel: ChannelName
    services: tuple[ServiceName, ...] | None = Field(
        default=None,
        min_length=1,
        description="Only notices about one of these, or about a release that has one of them.",
    )
    at_least: Severity = Field(default=Severity.INFO, description="Only this severe, or more.")
    kinds: tuple[NoticeKind, ...] | None = Field(
        default=None, min_length=1, description="Only these kinds."
    )

    def takes(self, notice: Notice) -> bool:
        """Whether a notice goes to the channel; one whose services are not known is taken."""
        about = notice.concerns
        return (
            notice.severity.is_at_least(self.at_least)
            and (self.kinds is None or notice.kind in self.kinds)
            and (self.services is None or not about or not about.isdisjoint(self.services))
        )


def channels_for(
    notice: Notice, rules: Sequence[NoticeRule] | None, known: Collection[str]
) -> frozenset[str]:
    """Return the channels that a notice goes to.

    Args:
        notice: what is told.
        rules: the catalog's; None where it says nothing: every known channel gets everything.
        known: channels of the settings.
    """
    if rules is None:
        return frozenset(known)
    return frozenset(rule.channel for rule in rules if rule.takes(notice))


def unknown_channels(rules: Iterable[NoticeRule] | None, known: Collection[str]) -> tuple[str, ...]:
    """Return the channels that rules name and the settings don't have, sorted."""
    return tuple(sorted({rule.channel for rule in rules or ()} - set(known)))
