"""Where a release and its canaries can be, and all that follows from it: one table for each.

A phase is one entry here. The pages, the timeline, the report, the command line, the search
attributes, the events and the notices, the docs and the plan of a release read it, and no module
beside this one makes a collection of phases of its own. Without the models of what is told, since
the command line offers phases as choices.
"""

from __future__ import annotations

from typing import Final

from schemas.event_kinds import EventType, MomentKind, NoticeKind
from schemas.ids import SIGNAL_APPROVE, SIGNAL_RESUME, SIGNAL_SKIP
from schemas.phase_facts import CanaryFacts, Phase, ReleaseFacts, Way

_BACK_BY_FAIL: Final = "An alert or the verdict FAIL takes it back."
_TRY_AGAIN: Final = "To try again, send another release id."


class CanaryPhase(Phase):
    """Where one service of a release is."""

    about: CanaryFacts

    WAITING = (
        "waiting",
        CanaryFacts(
            meaning="Not begun: a dependency in this release does not hold yet.",
            way=Way.UNTOUCHED,
            for_others=True,
            tone="none",
            sign="…",
        ),
    )
    DEPLOYING = (
        "deploying",
        CanaryFacts(
            meaning="Its instances are being put up; it has no traffic.",
            way=Way.FORWARD,
            takes_slot=True,
            urgency=2,
            following=f"{{step}} {_BACK_BY_FAIL}",
            event=EventType.CANARY_DEPLOYING,
            moment=MomentKind.DEPLOYING,
            entered="{service} waits for {waits_for}",
        ),
    )
    PREPARED = (
        "prepared",
        CanaryFacts(
            meaning="Its instances are ready ahead of its turn; it has no traffic.",
            way=Way.FORWARD,
            for_others=True,
            following=f"{{step}} {_BACK_BY_FAIL}",
            event=EventType.CANARY_PREPARED,
            moment=MomentKind.PREPARED,
            entered="{service} {version} is ready, and waits for {waits_for}",
        ),
    )
    PREFLIGHT = (
        "preflight",
        CanaryFacts(
            meaning="Begun, no traffic yet: an alert already fires, or the route is being read.",
            way=Way.FORWARD,
            takes_slot=True,
            urgency=3,
            following=f"{{step}} {_BACK_BY_FAIL}",
            event=EventType.CANARY_PREFLIGHT,
            moment=MomentKind.PREFLIGHT,
            entered="{service} waits for {waits_for}",
        ),
    )
    CHECKING = (
        "checking",
        CanaryFacts(
            meaning="A hook or a feature flag is asked whether it may go on.",
            way=Way.FORWARD,
            takes_slot=True,
            urgency=4,
            has_step=True,
            ends_by=SIGNAL_SKIP,
            ends_how="goes on without the answer",
            following=f"{{step}} {_BACK_BY_FAIL}",
            event=EventType.CANARY_CHECKING,
            moment=MomentKind.CHECKING,
            entered="{service} waits for {waits_for}",
        ),
    )
    SHIFTING = (
        "shifting",
        CanaryFacts(
            meaning="The router is being given a new weight.",
            way=Way.FORWARD,
            takes_slot=True,
            urgency=6,
            has_step=True,
            following=f"{{step}} {_BACK_BY_FAIL}",
        ),
    )
    BAKING = (
        "baking",
        CanaryFacts(
            meaning="It has a share of the requests, and is judged against stable.",
            way=Way.FORWARD,
            takes_slot=True,
            urgency=7,
            has_step=True,
            ends_by=SIGNAL_SKIP,
            ends_how="ends the bake",
            following=f"{{step}} {_BACK_BY_FAIL}",
            event=EventType.CANARY_BAKING,
            moment=MomentKind.BAKING,
            entered="{service} bakes at {weight:g} %{bake}",
        ),
    )
    GATED = (
        "gated",
        CanaryFacts(
            meaning="Waits for a person: a gate of the strategy, or a bake without a clear end.",
            way=Way.FORWARD,
            takes_slot=True,
            urgency=9,
            has_step=True,
            asks=True,
            ends_by=SIGNAL_APPROVE,
            ends_how="opens the gate",
            following="once a person says so, {step}",
            style="yellow",
            sign="?",
            listed_as="gated",
            event=EventType.CANARY_GATED,
            notice=NoticeKind.WAITING,
            moment=MomentKind.GATED,
            entered="{service} waits for {waits_for}",
        ),
    )
    IN_STEP = (
        "in_step",
        CanaryFacts(
            meaning="Keeps its weight until all services of its group have ended this step.",
            way=Way.FORWARD,
            for_others=True,
            takes_slot=True,
            urgency=5,
            has_step=True,
            following=f"{{step}} {_BACK_BY_FAIL}",
            moment=MomentKind.IN_STEP,
            entered="{service} waits for {waits_for}",
        ),
    )
    PAUSED = (
        "paused",
        CanaryFacts(
            meaning="A person or a change by somebody else keeps it at its weight.",
            way=Way.FORWARD,
            takes_slot=True,
            urgency=8,
            has_step=True,
            asks=True,
            ends_by=SIGNAL_RESUME,
            ends_how="goes on",
            following="once a person says so, {step}",
            style="yellow",
            sign="Ⅱ",
            listed_as="paused",
            event=EventType.CANARY_PAUSED,
        ),
    )
    HOLDING = (
        "holding",
        CanaryFacts(
            meaning="It has all requests, and waits for the rest of the release.",
            way=Way.FORWARD,
            for_others=True,
            following=(
                "once all services of the release hold, this version becomes stable; "
                "an alert or the verdict FAIL takes the release back."
            ),
            style="green",
            sign="■",
            listed_as="holding",
            event=EventType.CANARY_HOLDING,
            moment=MomentKind.HOLDING,
            entered="{service} {version} holds 100 %, and waits for the rest of the release",
        ),
    )
    FINALIZING = (
        "finalizing",
        CanaryFacts(
            meaning="It becomes the stable version: no way back from here.",
            way=Way.FINAL,
            takes_slot=True,
            urgency=1,
            following="this version becomes stable.",
        ),
    )
    FINALIZED = (
        "finalized",
        CanaryFacts(
            meaning="It is the stable version.",
            way=Way.FINAL,
            closed=True,
            afterwards="To go back, revert the release: `aviary release revert`.",
            style="green",
            tone="good",
            sign="✓",
            listed_as="finalized",
            event=EventType.CANARY_FINALIZED,
            moment=MomentKind.FINALIZED,
            entered="{service} {version} is finalized",
        ),
    )
    ROLLING_BACK = (
        "rolling_back",
        CanaryFacts(
            meaning="Its requests are being given back to stable.",
            way=Way.BACK,
            takes_slot=True,
            urgency=12,
            following="{stable} gets all requests; tried until it is so.",
            style="red",
            tone="bad",
            sign="↩",
            listed_as="rolling_back",
            event=EventType.CANARY_ROLLINGBACK,
            moment=MomentKind.ROLLING_BACK,
            entered="{service} goes back",
        ),
    )
    STUCK = (
        "stuck",
        CanaryFacts(
            meaning="A rollback that still fails; it is retried for ever.",
            way=Way.BACK,
            takes_slot=True,
            urgency=13,
            asks=True,
            following="{stable} gets all requests; tried until it is so.",
            style="bold red",
            tone="bad",
            sign="!",
            listed_as="stuck",
            event=EventType.CANARY_STUCK,
            notice=NoticeKind.STUCK,
            moment=MomentKind.STUCK,
            entered="{service} is stuck: waits for {waits_for}",
        ),
    )
    VERIFYING = (
        "verifying",
        CanaryFacts(
            meaning="The router confirmed stable; whether it does so is being looked at.",
            way=Way.BACK,
            takes_slot=True,
            urgency=11,
            no_traffic=True,
            following="it is rolled back when no request starts on it any more.",
            tone="bad",
            sign="↩",
            listed_as="rolling_back",
            moment=MomentKind.VERIFYING,
            entered="{service}: do requests still start on {version}?",
        ),
    )
    RETIRING = (
        "retiring",
        CanaryFacts(
            meaning="Stable has all requests again; its instances are being taken down.",
            way=Way.BACK,
            takes_slot=True,
            urgency=10,
            no_traffic=True,
            following="it is rolled back once its instances have gone.",
            tone="bad",
            sign="↩",
            listed_as="rolling_back",
            event=EventType.CANARY_RETIRING,
            moment=MomentKind.RETIRING,
            entered="{service}: the instances of {version} are taken down",
        ),
    )
    ROLLED_BACK = (
        "rolled_back",
        CanaryFacts(
            meaning="Stable has all requests again.",
            way=Way.BACK,
            closed=True,
            verb="was",
            afterwards=_TRY_AGAIN,
            style="red",
            tone="bad",
            sign="↩",
            listed_as="rolled_back",
            event=EventType.CANARY_ROLLEDBACK,
            moment=MomentKind.ROLLED_BACK,
            entered="{service} is back at {stable}",
        ),
    )
    SKIPPED = (
        "skipped",
        CanaryFacts(
            meaning="Never begun, because the release went back first.",
            way=Way.UNTOUCHED,
            closed=True,
            verb="was",
            afterwards=_TRY_AGAIN,
            tone="none",
            sign="-",
        ),
    )

    @property
    def back(self) -> bool:
        """Whether what it depends on may go back: it has no traffic by the router's word."""
        return self.closed or self.about.no_traffic

    def weight(self, sent: float, *, stable: bool = False) -> float:
        """The share of requests that the version has here, percent: the one place that says it.

        Args:
            sent: as the router confirmed it for a canary; a version that is stable is none.
            stable: whether the version is the stable one already.
        """
        if self.closed and self.goes_back:
            return 0.0
        return 100.0 if stable or (self.closed and self.final) else sent


class ReleasePhase(Phase):
    """Where a release is."""

    about: ReleaseFacts

    QUEUED = (
        "queued",
        ReleaseFacts(
            meaning="Waits until all its services are its own; nothing of it has begun.",
            way=Way.UNTOUCHED,
            for_others=True,
            headline="is queued: nothing has begun",
            following="its turn; then {first}.",
            style="yellow",
            tone="none",
            event=EventType.RELEASE_QUEUED,
        ),
    )
    RUNNING = (
        "running",
        ReleaseFacts(
            meaning="Its canaries go forward, dependencies first.",
            way=Way.FORWARD,
            headline="is running: {holding} of {services} hold",
            following="{running}",
            event=EventType.RELEASE_STARTED,
            notice=NoticeKind.STARTED,
        ),
    )
    SOAKING = (
        "soaking",
        ReleaseFacts(
            meaning="All hold, and are watched together.",
            way=Way.FORWARD,
            headline="is soaking: all {services} hold together",
            following="all become stable; until then an alert or the verdict FAIL takes all back.",
            event=EventType.RELEASE_SOAKING,
            moment=MomentKind.SOAKING,
            entered="all services hold; they soak together",
        ),
    )
    FINALIZING = (
        "finalizing",
        ReleaseFacts(
            meaning="Its versions become stable: no way back from here.",
            way=Way.FINAL,
            headline="is finalizing: its versions become stable",
            afterwards="To go back once it is done: `aviary release revert`.",
            event=EventType.RELEASE_FINALIZING,
            moment=MomentKind.FINALIZING,
            entered="finalizing: no way back from here",
        ),
    )
    ROLLING_BACK = (
        "rolling_back",
        ReleaseFacts(
            meaning="Stable gets all requests back, dependents first.",
            way=Way.BACK,
            headline="is rolling back",
            following="stable gets all requests back, dependents first; tried until it is so.",
            style="red",
            tone="bad",
            event=EventType.RELEASE_ROLLINGBACK,
            notice=NoticeKind.ROLLING_BACK,
            moment=MomentKind.ROLLBACK,
            entered="the release goes back{why}",
        ),
    )
    FINALIZED = (
        "finalized",
        ReleaseFacts(
            meaning="Its versions are stable.",
            way=Way.FINAL,
            closed=True,
            headline="is finalized: {services} released",
            afterwards="To go back: `aviary release revert`.",
            style="green",
            tone="good",
            sign="✓",
            event=EventType.RELEASE_FINALIZED,
            notice=NoticeKind.FINISHED,
            moment=MomentKind.FINALIZED,
            entered="release {release} is finalized",
        ),
    )
    ROLLED_BACK = (
        "rolled_back",
        ReleaseFacts(
            meaning="It went back; all is as before.",
            way=Way.BACK,
            closed=True,
            verb="was",
            headline="was rolled back{but}",
            afterwards=_TRY_AGAIN,
            style="red",
            tone="bad",
            sign="↩",
            event=EventType.RELEASE_ROLLEDBACK,
            notice=NoticeKind.ROLLED_BACK,
            moment=MomentKind.ROLLED_BACK,
            entered="release {release} is rolled back",
        ),
    )
