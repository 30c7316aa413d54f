"""What a canary does next: pure, so that every order of events can be tested.

`next_action` looks at the state and says what is to be done now; `workflows.canary` carries it out.
The other functions are the state's only changes: what was heard, what was begun, how it ended.
Nothing here knows Temporal, time or a router.

A canary goes one of three ways. Forward, stage by stage; back, undoing what was done; or, past the
point of no return, only on to its end.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum

from schemas.decisions import Did
from schemas.phases import CanaryPhase
from schemas.release import Cause
from schemas.stages import UNDONE_FIRST, Effect, Stage, When
from workflows.outcomes import Done, Failed, Outcome, TooLong

# --- what is done ---


@dataclass(frozen=True)
class Do:
    """Do a stage: from its beginning, or go on with it."""

    index: int


@dataclass(frozen=True)
class Pause:
    """Wait until somebody resumes, before this stage; what has traffic is judged on."""

    index: int


@dataclass(frozen=True)
class Undo:
    """Undo what stages did, this one the last of them; never given up."""

    index: int


@dataclass(frozen=True)
class Keep:
    """Give the version that went back everything after all, as a person said."""


@dataclass(frozen=True)
class AskRelease:
    """In trouble while holding, and the release is gone: find out what it had decided."""


@dataclass(frozen=True)
class HandOver:
    """Have another run go on, for this one's history has become long."""


@dataclass(frozen=True)
class Interrupt:
    """Stop what is under way: it is not what is to be done any more."""


@dataclass(frozen=True)
class End:
    """Nothing is left to do."""

    phase: CanaryPhase


Action = Do | Pause | Undo | Keep | AskRelease | HandOver
"""What takes time."""


# --- where it is ---


class Way(StrEnum):
    """Where a canary is bound."""

    FORWARD = "forward"
    BACK = "back"
    FINAL = "final"
    """Past the point of no return: no cause to go back counts any more."""


@dataclass(frozen=True)
class State:
    """All that the next action depends on."""

    stages: tuple[Stage, ...]
    at: int = 0
    """The stage that it has come to."""
    under_way: Action | None = None
    way: Way = Way.FORWARD
    touched: frozenset[int] = frozenset()
    """Stages whose effect was begun, whether or not that is known to have succeeded."""
    undone: frozenset[Effect] = frozenset()
    cause: Cause | None = None
    """Why it goes back or, while holding, why it must."""
    finalize: bool = False
    """It was told to become stable."""
    pause: str | None = None
    """Who paused it and why; None while nobody has."""
    keep: str | None = None
    """Who keeps the version although it went back, and why."""
    kept: bool = False
    go_on: int = 0
    """Point up to which all of its group have come, as the release said."""
    alerted: bool = False
    """An alert came since preflight last asked, before there was traffic."""
    too_long: bool = False
    ended: bool = False

    # What the route and Temporal tell.
    routed: bool = False
    """The service has a route."""
    unchanged: bool = False
    """The version is the stable one already."""
    first: bool = False
    """This canary gave the service its first route."""
    begun: bool = False
    """The version was given requests."""
    orphaned: bool = False
    """No release hears this canary."""
    reset: bool = False
    """This run was reset: it may have done more than it remembers."""

    def index(self, kind: str) -> int | None:
        """Where the first stage of a kind is."""
        found = (at for at, stage in enumerate(self.stages) if stage.kind == kind)
        return next(found, None)

    @property
    def holding(self) -> bool:
        """Whether the way back is for its release to order."""
        return self.way is Way.FORWARD and self.stages[self.at].kind == "hold"


# --- how it begins ---


def promoting(stages: tuple[Stage, ...]) -> State:
    """A canary that only becomes stable: an earlier run was lost while it did."""
    state = State(stages, way=Way.FINAL, finalize=True)
    return replace(state, at=_promote(state))


def restoring(stages: tuple[Stage, ...], cause: Cause) -> State:
    """A canary that only takes back what an earlier run, which was lost, may have done."""
    every = frozenset(at for at, stage in enumerate(stages) if stage.effect is not None)
    return State(stages, way=Way.BACK, cause=cause, touched=every)


# --- what is next ---


def next_action(state: State) -> Action | Interrupt | End | None:
    """What is to be done now; None while what is under way goes on."""
    if state.under_way is not None:
        return None if goes_on(state) else Interrupt()
    match state.way:
        case Way.BACK:
            return _back(state)
        case Way.FINAL if state.ended:
            return End(CanaryPhase.FINALIZED)
        case Way.FINAL:
            return Do(max(state.at, _promote(state)))
        case Way.FORWARD:
            return _forward(state)


def goes_on(state: State) -> bool:
    """Whether what is under way is still what is to be done; each write asks right before it."""
    match state.under_way:
        case Undo() | Keep():
            return True
        case Do(index) if index >= _promote(state):
            return True
        case AskRelease():
            return state.way is Way.FORWARD and not _promotes(state)
        case _:
            forward = state.way is Way.FORWARD
            return forward and not _promotes(state) and not _asks_release(state)


def _forward(state: State) -> Action:
    if _promotes(state):
        return Do(_promote(state))
    if _asks_release(state):
        return AskRelease()
    if state.too_long:
        return HandOver()
    index = _due(state)
    if state.stages[index].moves:
        preflight = state.index("preflight")
        if state.pause is not None:
            return Pause(index)
        if state.alerted and not state.begun and preflight is not None:
            return Do(preflight)
    return Do(index)


def _back(state: State) -> Action | End:
    stays = state.keep is not None or state.first
    for index in undo_order(state):
        if not (stays and state.stages[index].effect is Effect.INSTANCES):
            return Undo(index)
    if state.keep is not None and not state.kept:
        return Keep()
    stays = state.kept or state.first
    return End(CanaryPhase.FINALIZED if stays else CanaryPhase.ROLLED_BACK)


def undo_order(state: State) -> list[int]:
    """What is still to be undone: the route first, then what was done last.

    Stages with the same effect are undone together, at the place of the last of them. One that was
    reset may have done any of them.
    """
    last: dict[Effect, int] = {}
    for index, stage in enumerate(state.stages):
        if stage.effect is not None and (state.reset or index in state.touched):
            last[stage.effect] = index
    left = [effect for effect in last if effect not in state.undone]
    left.sort(key=lambda effect: (effect is not UNDONE_FIRST, -last[effect]))
    return [last[effect] for effect in left]


def _due(state: State) -> int:
    """The first stage from here on that applies: holding at the latest."""
    for index in range(state.at, _promote(state)):
        match state.stages[index].when:
            case When.UNROUTED if state.routed:
                continue
            case When.CHANGED if state.unchanged:
                continue
            case _:
                return index
    raise ValueError("stages: expected them to end with hold and promote")


def _promote(state: State) -> int:
    """Where the point of no return is: what comes after it is done whatever is heard."""
    return next(at for at, one in enumerate(state.stages) if one.kind == "promote")


def _promotes(state: State) -> bool:
    """Told to become stable, and there; one that was reset was there before, and goes at once."""
    return state.finalize and (state.holding or state.reset)


def _asks_release(state: State) -> bool:
    """In trouble while holding, with no release left that could order the rollback."""
    return state.holding and state.cause is not None and state.orphaned and not state.finalize


# --- what was heard ---


def trouble(state: State, cause: Cause) -> tuple[State, Did]:
    """Go back at once; while holding, the release is told, which takes the dependents first."""
    # One that was reset may not have come to where it was told to finalize.
    if state.way is Way.FINAL or (state.finalize and state.reset):
        return state, Did.TOO_LATE
    if state.cause is not None:
        return state, Did.KNOWN
    if state.holding:
        return replace(state, cause=cause), Did.TOLD
    return replace(state, cause=cause, way=Way.BACK), Did.BACK


def ordered_back(state: State, cause: Cause) -> tuple[State, Did]:
    """The release's order, which is obeyed while holding, too."""
    if state.way is not Way.FORWARD:
        return state, Did.TOO_LATE if state.way is Way.FINAL else Did.KNOWN
    return replace(state, cause=cause, way=Way.BACK), Did.BACK


def ordered_final(state: State) -> tuple[State, Did]:
    """The release's order to become stable, once all of its services hold."""
    if state.way is Way.BACK:
        return state, Did.TOO_LATE
    known = state.finalize
    return replace(state, finalize=True), Did.KNOWN if known else Did.FORWARD


def let_on(state: State, point: int) -> State:
    """The release's word that all of its group have come to a point; an older one says nothing."""
    return replace(state, go_on=max(state.go_on, point))


def waits_anew(state: State) -> State:
    """Of one that was reset: what it was told before says nothing of a group that was reset, too.

    The words come again with the reset. Its release tells a canary that waits once more.
    """
    return replace(state, go_on=0) if state.reset else state


def alerted(state: State) -> State:
    """An alert came: as long as the version has no requests, preflight asks again."""
    return state if state.begun else replace(state, alerted=True)


def asked(state: State) -> State:
    """Preflight asks what fires; what comes from now on is news."""
    return replace(state, alerted=False)


def paused(state: State, why: str | None) -> State:
    """Paused, or resumed with None."""
    return replace(state, pause=why)


def kept(state: State, why: str) -> State:
    """A person keeps the version that went back; the cause says so."""
    cause = state.cause
    if cause is not None:
        text = f"{why} rather than going back because {cause.text}"
        cause = cause.model_copy(update={"text": text})
    return replace(state, keep=why, cause=cause)


# --- what was done ---


def began(state: State, action: Action) -> State:
    """An action was begun."""
    state = replace(state, under_way=action)
    match action:
        case Do(index) if index == _promote(state):
            return replace(state, at=index, way=Way.FINAL)
        case Do(index):
            return replace(state, at=max(state.at, index))
        case _:
            return state


def touches(state: State) -> State:
    """The stage that is under way is about to have its effect."""
    match state.under_way:
        case Do(index):
            return replace(state, touched=state.touched | {index})
        case _:
            return state


def untouched(state: State) -> State:
    """The stage that is under way was refused its effect: nothing was changed."""
    match state.under_way:
        case Do(index):
            return replace(state, touched=state.touched - {index})
        case _:
            return state


def ended(state: State, outcome: Outcome) -> State:
    """What was under way has ended."""
    action, state = state.under_way, replace(state, under_way=None)
    match outcome:
        case Failed(cause):
            return trouble(state, cause)[0]
        case TooLong():
            # The run that goes on knows where it was, and not that preflight was asked once more.
            again = isinstance(action, Do) and action.index < state.at
            return replace(state, too_long=True, alerted=state.alerted or again)
        case Done():
            return _done(state, action)
        case _:
            return state


def _done(state: State, action: Action | None) -> State:
    match action:
        case Do(index) if index >= _promote(state):
            last = index + 1 == len(state.stages)
            return replace(state, at=index if last else index + 1, ended=last)
        case Do(index) if not state.holding:  # which ends by an order alone
            return replace(state, at=max(state.at, index + 1))
        case Undo(index):
            effect = state.stages[index].effect
            return replace(state, undone=state.undone | {effect}) if effect else state
        case Keep():
            return replace(state, kept=True)
        case _:
            return state


def release_decided(state: State, *, final: bool) -> State:
    """What the release had decided, that no longer is there."""
    if state.way is not Way.FORWARD:
        return state
    return replace(state, finalize=True) if final else replace(state, way=Way.BACK)
