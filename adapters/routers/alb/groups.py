"""The target groups of versions, found by their tags."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from adapters.errors import Terminal, UnknownRoute
from adapters.routers.alb.client import Elb
from adapters.routers.alb.tags import SERVICE, VERSION

_PAGE = 400


class TargetGroups:
    """Which target group is whose: those whose names begin so, and that have both tags.

    Args:
        elb: the API.
        prefix: what their names begin with; empty: anything.
        fresh_for: seconds for which a list is not asked for again.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        elb: Elb,
        prefix: str = "",
        fresh_for: float = 2.0,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._elb = elb
        self._prefix = prefix
        self._fresh_for = fresh_for
        self._clock = clock
        self._listed_at: float | None = None
        self._tags: dict[str, Mapping[str, str]] = {}
        """Of the groups that there were last, by ARN."""

    async def of(self, service: str) -> dict[str, str]:
        """The target group of each version of a service.

        Raises:
            Terminal: two are tagged as the same version.
            Retryable: the API did not answer.
        """
        await self._list()
        return self._known(service)

    def _known(self, service: str) -> dict[str, str]:
        found: dict[str, str] = {}
        for arn, tags in self._tags.items():
            version = tags.get(VERSION)
            if tags.get(SERVICE) != service or not version:
                continue
            if version in found:
                both = f"{found[version]} and {arn}"
                raise Terminal(f"{service}: two target groups are tagged as {version}: {both}")
            found[version] = arn
        return found

    async def of_versions(self, service: str, versions: Iterable[str]) -> dict[str, str]:
        """The target groups of a service; those of these versions are looked for if need be.

        Raises:
            UnknownRoute: one of them has none.
        """
        versions = tuple(versions)
        found = await self.of(service)
        if any(version not in found for version in versions):
            self._listed_at = None
            found = await self.of(service)
        for version in versions:
            if version not in found:
                raise UnknownRoute(
                    f"{service}: version {version} has no pool of instances; expected a target "
                    f"group with the tags {SERVICE}={service} and {VERSION}={version}"
                )
        return found

    async def _list(self) -> None:
        now = self._clock()
        if self._listed_at is not None and now - self._listed_at < self._fresh_for:
            return
        groups: list[dict[str, Any]] = await self._elb.every(
            "describe_target_groups", "TargetGroups", PageSize=_PAGE
        )
        arns = [
            str(one["TargetGroupArn"])
            for one in groups
            if str(one["TargetGroupName"]).startswith(self._prefix)
        ]
        # What a version's group is tagged with is for good; others may still be tagged.
        known = {arn: self._tags[arn] for arn in arns if VERSION in self._tags.get(arn, {})}
        asked = await self._elb.tags([arn for arn in arns if arn not in known])
        self._tags = {**known, **asked}
        self._listed_at = now
