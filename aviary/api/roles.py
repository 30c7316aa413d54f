"""What a caller may do, and for which services. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Final

from pydantic import Field


class Role(StrEnum):
    """What somebody may do."""

    DEPLOY = "deploy"
    """Ask for releases."""
    READ = "read"
    """See releases."""
    APPROVE = "approve"
    """Tell a release to go on, to wait, or to stay: approve, pause, pick, resume, skip, keep."""
    ROLLBACK = "rollback"
    """Take a release back, pause it, or pick the old version."""
    ALERTS = "alerts"
    """Send alerts, of any service."""


WORDS: Final[dict[str, frozenset[Role]]] = {
    "approve": frozenset({Role.APPROVE}),
    "pause": frozenset({Role.APPROVE, Role.ROLLBACK}),
    "pick": frozenset({Role.APPROVE, Role.ROLLBACK}),
    "resume": frozenset({Role.APPROVE}),
    "skip": frozenset({Role.APPROVE}),
    "keep": frozenset({Role.APPROVE}),
    "rollback": frozenset({Role.ROLLBACK}),
}
"""The words that may be said to a release, each with the roles of which one is enough."""

ServicePattern = Annotated[
    str,
    Field(
        min_length=1,
        max_length=63,
        pattern=r"^[a-z0-9-]*\*?[a-z0-9-]*\*?[a-z0-9-]*$",
        description="The name of a service; * stands for any characters, at most twice.",
    ),
]


@dataclass(frozen=True)
class Caller:
    """Somebody who is known: by a token, or by an identity provider."""

    name: str
    """As it stands in history, events and logs: `token:NAME`, or `ISSUER:SUBJECT`."""
    roles: frozenset[Role]
    services: tuple[str, ...] | None = None
    """Patterns of the services that it may do this for; None: all."""
    until: datetime | None = None
    """When what proves it expires; None: never."""

    def has(self, roles: Iterable[Role]) -> bool:
        """Whether it has one of these roles."""
        return not self.roles.isdisjoint(roles)

    def covers(self, service: str) -> bool:
        """Whether a service is one of its own."""
        if self.services is None:
            return True
        return any(matches(pattern, service) for pattern in self.services)

    def outside(self, services: Iterable[str]) -> list[str]:
        """Which of these services are not its own."""
        return [one for one in services if not self.covers(one)]

    def sees(self, services: Iterable[str]) -> bool:
        """Whether it may see a release of these services: one of its own is among them."""
        return self.services is None or any(map(self.covers, services))

    @property
    def words(self) -> frozenset[str]:
        """The words that its roles let it say."""
        return frozenset(word for word, roles in WORDS.items() if self.has(roles))


def matches(pattern: str, text: str) -> bool:
    """Whether a text is as a pattern says, in which * stands for any characters.

    In a time that grows with the text alone, whatever the pattern is.
    """
    first, *others = pattern.split("*")
    if not others:
        return text == pattern
    *middle, last = others
    if not text.startswith(first):
        return False
    at = len(first)
    for part in middle:
        found = text.find(part, at)
        if found < 0:
            return False
        at = found + len(part)
    return text.endswith(last) and len(text) - len(last) >= at
