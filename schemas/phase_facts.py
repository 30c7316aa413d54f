"""What is known of a phase: the columns of the tables of `schemas.phases`."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Final, Literal, Self

from schemas.event_kinds import EventType, MomentKind, NoticeKind

RUNNING: Final = "running"
"""The state that the Temporal UI lists bakes, shifts and the like under: they come with every step,
and are not worth an event each in the history."""

Tone = Literal["good", "bad", "open", "none"]
"""How a phase is coloured where signs are: it is well, it is not, it goes on, nothing happened."""


class Waiting(StrEnum):
    """What the time in a phase passes with."""

    WORK = "work"
    """Something is done, or judged."""
    PEOPLE = "people"
    """It goes on only when a person has done something."""
    OTHERS = "others"
    """Other services or releases are waited for."""


class Way(Enum):
    """Which way a phase leads."""

    UNTOUCHED = "untouched"
    """Nothing has begun, so that there is nothing to take back."""
    FORWARD = "forward"
    """To its end, and it may still be told to go back, pause or resume."""
    FINAL = "final"
    """Past the point of no return."""
    BACK = "back"


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What is known of a phase, of a release's or of a canary's."""

    meaning: str
    """For people, in one sentence."""
    way: Way
    closed: bool = False
    """Whether nothing more will happen."""
    asks: bool = False
    """Whether it goes on only when a person has done something."""
    for_others: bool = False
    """Whether it only waits for other services or releases."""
    verb: str = "is"
    """Before its name, in a sentence about now."""
    following: str = ""
    """What comes next when nothing goes wrong, or when the way back is done; a template."""
    afterwards: str = ""
    """What a person may do about it, where nothing is left to decide."""
    style: str = ""
    """Of its name on a terminal, in rich's words."""
    tone: Tone = "open"
    sign: str = "→"
    """Beside its name in the report, so that no state is told by colour alone."""
    notice: NoticeKind | None = None
    """The notice that goes out when it is entered."""
    moment: MomentKind | None = None
    """The moment of a timeline that its being entered is; None: another moment tells it."""
    entered: str = ""
    """That moment's text; a template."""


@dataclass(frozen=True, kw_only=True)
class CanaryFacts(Facts):
    """A row of the canaries' table.

    Templates know `{service}`, `{version}` and `{stable}`; `following` knows `{step}` as well, the
    next step, and `entered` `{weight}`, `{bake}` and `{waits_for}`.
    """

    takes_slot: bool = False
    """Whether it counts as moving: against `max_parallel`, and as what a view shows first."""
    urgency: int = 0
    """Of those that move, the higher is shown the earlier, where not all have room."""
    has_step: bool = False
    """Whether it is at a step of the strategy."""
    no_traffic: bool = False
    """Whether the router confirmed that the version has none, so that what it depends on may go
    back; always so once closed."""
    ends_by: str = ""
    """The command that is made for ending it."""
    ends_how: str = ""
    """What that command does."""
    listed_as: str = RUNNING
    """Its state in the search attribute `AviaryState`."""
    event: EventType | None = None
    """The event that tells of its being entered; None: others tell enough."""


@dataclass(frozen=True, kw_only=True)
class ReleaseFacts(Facts):
    """A row of the releases' table.

    Templates: `headline` knows `{holding}`, `{services}` and `{but}`, what did not go back;
    `following` knows `{first}`, `{running}`; `entered` knows `{release}` and `{why}`.
    """

    headline: str
    """After its name, first on its page; a template."""
    event: EventType
    """The event that tells of its being entered."""


class Phase(StrEnum):
    """What both tables' phases answer."""

    about: Facts

    def __new__(cls, value: str, *row: Facts) -> Self:
        """Make a phase of its row; a name alone, as in `CanaryPhase("baking")`, looks one up."""
        phase = str.__new__(cls, value)
        phase._value_ = value
        (phase.about,) = row
        return phase

    @property
    def words(self) -> str:
        """Its name as a person says it: `rolling back`."""
        return self.value.replace("_", " ")

    @property
    def closed(self) -> bool:
        """Whether nothing more will happen."""
        return self.about.closed

    @property
    def waiting(self) -> Waiting:
        """What the time in it passes with."""
        if self.about.asks:
            return Waiting.PEOPLE
        return Waiting.OTHERS if self.about.for_others else Waiting.WORK

    @property
    def untouched(self) -> bool:
        """Whether nothing of it has begun."""
        return self.about.way is Way.UNTOUCHED

    @property
    def final(self) -> bool:
        """Whether it is past the point of no return."""
        return self.about.way is Way.FINAL

    @property
    def goes_back(self) -> bool:
        """Whether it goes back, or has."""
        return self.about.way is Way.BACK

    @property
    def too_late(self) -> bool:
        """Whether a person's word comes too late: it is final, or goes back."""
        return self.final or self.goes_back

    @property
    def forward(self) -> bool:
        """Whether it may still be told to go back, pause or resume."""
        return not (self.closed or self.too_late)
