"""The demo of a feature flag: a service goes out dark, its flag grows, an alert turns it off."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from typing import Final

from aviary.cli.demo.scenarios import Scenario, ScenarioResult
from aviary.cli.demo.viewer import ReleaseViewer
from aviary.local import evidence
from aviary.local.flag_stack import FLAG, NEEDS, FlagStack
from aviary.local.stack import Stack
from aviary.local.unleash.application import POLL_S
from schemas.release import CauseKind, ReleasePhase, ReleaseStatus

DARK: Final = "Scenario 1: a service goes out dark: its new code is there, and its flag off"
GROWN: Final = "Scenario 2: the flag grows to 25 %, an alert fires, and the flag goes off"
_VERSION: Final = "1.1.0"
_WEIGHT: Final = 25.0
_AROUND: Final = 7.0
"""Percent that the share of 1,000 users may differ: five standard deviations."""
_LATEST_S: Final = 30.0
_LOOK_S: Final = 0.1


async def dark(stack: Stack, viewer: ReleaseViewer) -> ScenarioResult:
    """Scenario 1: a service goes out dark."""
    stack = _with_flag(stack)
    result = ScenarioResult(DARK)
    await stack.reset_load()
    await viewer.watch("dark-1", {NEEDS: _VERSION})
    status = await evidence.status(viewer.temporal, "dark-1")
    result.check("Temporal: the release is finalized", ok=status.phase is ReleasePhase.FINALIZED)
    await _check_served(stack, result)
    off = not await stack.rollout() and not stack.application.share
    result.check(f"Unleash: {FLAG} is off for everybody", ok=off)
    return result


async def grown(stack: Stack, viewer: ReleaseViewer) -> ScenarioResult:
    """Scenario 2: the flag grows, and an alert turns it off; the version stays."""
    stack = _with_flag(stack)
    result = ScenarioResult(GROWN)
    trouble = _Trouble(stack)
    await viewer.watch("dark-2", {FLAG: "on"}, trouble.look)
    status = await evidence.status(viewer.temporal, "dark-2")
    back = status.phase is ReleasePhase.ROLLED_BACK
    result.check("Temporal: the release of the flag is rolled back", ok=back)
    cause = status.cause
    by_alert = cause is not None and (cause.kind, cause.service) == (CauseKind.ALERT, FLAG)
    result.check(f"Temporal: because of {FLAG}, by alert", ok=by_alert)
    await trouble.say(result)
    result.check("Unleash: Aviary's strategy is for nobody", ok=await stack.rollout() == "0")
    await _check_served(stack, result)
    return result


class _Trouble:
    """Raises the alert once the application's users have the flag as the step says."""

    def __init__(self, stack: FlagStack) -> None:
        self._stack = stack
        self._at: float | None = None
        self._share = 0.0

    async def look(self, status: ReleaseStatus) -> None:
        """Raise it if it is time."""
        weights = [one.weight for one in status.services if one.service == FLAG]
        share = self._stack.application.share
        if self._at is None and weights == [_WEIGHT] and abs(share - _WEIGHT) < _AROUND:
            self._share = share
            self._at = await self._stack.alert()

    async def say(self, result: ScenarioResult) -> None:
        """When the flag was off: at Unleash, and in the application."""
        text = f"the application: {self._share:g} % of its users had the flag, of {_WEIGHT:g}"
        result.check(text, ok=self._at is not None)
        if self._at is None:
            return
        there = await self._stack.off_since(self._at)
        result.check("Unleash's event log: the flag went off", ok=there is not None)
        gone = await self._until_off(self._at)
        result.check("the application: no user has the flag any more", ok=gone is not None)
        if there is None or gone is None:
            return
        result.facts["alert → off at Unleash"] = f"{1000 * (there - self._at):.0f} ms"
        late = max(0.0, gone - there)
        result.facts["off at Unleash → in the application"] = (
            f"{1000 * late:.0f} ms (polls every {POLL_S:g} s; Unleash serves a change within 1 s)"
        )

    async def _until_off(self, moment: float) -> float | None:
        deadline = time.monotonic() + _LATEST_S
        while time.monotonic() < deadline:
            if (gone := self._stack.application.off_since(moment)) is not None:
                return gone
            await asyncio.sleep(_LOOK_S)
        return None


def _with_flag(stack: Stack) -> FlagStack:
    if not isinstance(stack, FlagStack):
        raise TypeError("stack: expected one with a flag")
    return stack


async def _check_served(stack: FlagStack, result: ScenarioResult) -> None:
    routed = await evidence.clusters_routed(stack, NEEDS)
    ok = evidence.serves_only(routed, NEEDS, _VERSION)
    result.check(f"{stack.front.title}: {NEEDS} is served by {_VERSION} alone", ok=ok)


FLAG_SCENARIOS: Final[Mapping[str, Scenario]] = {DARK: dark, GROWN: grown}
