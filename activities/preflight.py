"""Preflight: does an alert already fire on a service before its canary starts?"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Final

from pydantic import Field
from temporalio import activity

from activities.policy import Policy, forever, terminal_errors
from adapters.ports import AlertSource
from schemas.alert import Alert
from schemas.base import Duration, Model, ServiceName, Version
from schemas.outside import NAME_MOST, cut
from schemas.versions import named_version, same_version

PREFLIGHT: Final = "aviary.preflight"

PREFLIGHT_POLICY = Policy(
    start_to_close=timedelta(days=1),
    retry=forever(timedelta(seconds=10)),
    heartbeat=timedelta(seconds=15),
)
NAMES_MOST: Final = 5
"""Names of alerts that one answer spells out."""
IDENTITIES_MOST: Final = 200
"""Identities of alerts that one answer hands back."""


class Firing(Model):
    """What fires on a service; of bounded size, however much fires."""

    names: tuple[str, ...] = Field(default=(), description="Of those that hold it back, some.")
    count: int = Field(default=0, description="How many names there are.")
    identities: tuple[str, ...] = Field(
        default=(), description="Of all that fire, so that a repeat of them is no news."
    )

    @property
    def sentence(self) -> str:
        """The names, for a person."""
        more = self.count - len(self.names)
        return ", ".join(self.names) + (f" and {more} more" if more > 0 else "")


class Preflight(Model):
    """Wait until the alerts that hold a service back are others than `known`."""

    service: ServiceName
    labels: tuple[str, ...] = Field(description="That may name the service.")
    version_labels: tuple[str, ...] = ()
    version: Version
    stable: Version | None = Field(description="An alert of this version holds nothing back.")
    poll: Duration
    known: Firing | None = Field(default=None, description="None to be answered at once.")

    def holds(self, alert: Alert) -> bool:
        """Whether the alert holds the new version back."""
        named = named_version(alert.labels, self.version_labels)
        if named is None or self.stable is None:
            return True
        return same_version(named[1], self.version) or not same_version(named[1], self.stable)

    @property
    def kept(self) -> frozenset[str]:
        """The labels that are looked at."""
        return frozenset({"alertname", *self.labels, *self.version_labels})

    def concerns(self, alert: Alert) -> bool:
        """Whether the alert is about the service."""
        return self.service in (alert.labels.get(label) for label in self.labels)


class PreflightActivities:
    """Activities over the source of firing alerts."""

    def __init__(
        self,
        alerts: AlertSource,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._alerts = alerts
        self._sleep = sleep

    @activity.defn(name=PREFLIGHT)
    async def preflight(self, request: Preflight) -> Firing:
        """The alerts that hold the service back; none means go."""
        known = request.known
        while True:
            with terminal_errors():
                firing = await self._alerts.firing(kept=request.kept)
            found = _found(request, firing)
            activity.heartbeat(found.count)
            if known is None or (found.names, found.count) != (known.names, known.count):
                return found
            await self._sleep(request.poll.total_seconds())


def _found(request: Preflight, firing: Sequence[Alert]) -> Firing:
    alerts = [alert for alert in firing if request.concerns(alert)]
    names = sorted(
        {cut(_name(alert, request), NAME_MOST) for alert in alerts if request.holds(alert)}
    )
    return Firing(
        names=tuple(names[:NAMES_MOST]),
        count=len(names),
        identities=tuple(cut(alert.identity, NAME_MOST) for alert in alerts[:IDENTITIES_MOST]),
    )


def _name(alert: Alert, request: Preflight) -> str:
    """The alert's name, and the version that it names."""
    named = named_version(alert.labels, request.version_labels)
    return f"{alert.name} ({named[0]} {named[1]})" if named else alert.name
