"""How many requests had the lane of a release, and how many may have left it. Pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from pydantic import Field

from schemas.base import Model, Percent, ServiceName
from schemas.catalog_check import listed, many

WINDOWS_MOST: Final = 20
"""Times of one service that are kept; of more, the newest."""
_BY_CHANCE: Final = 3.0
"""Standard deviations: two services are not counted at the very same moments."""


class LaneCounts(Model):
    """Requests of one service while its canary had one weight, as its router counted them."""

    began_at: datetime = Field(description="When the first reading was taken.")
    until: datetime = Field(description="When the last was.")
    weight: Percent = Field(description="Of the canary meanwhile.")
    canary: int = Field(ge=0, description="Requests that the canary got, with the lane or without.")
    stable: int = Field(ge=0, description="Requests that stable got.")
    came: int = Field(ge=0, description="Requests that had the lane as they came.")

    @property
    def total(self) -> int:
        """Requests of both versions."""
        return self.canary + self.stable

    @property
    def given(self) -> int:
        """Requests that were given the lane here."""
        return max(0, self.canary - self.came)

    @property
    def lasted(self) -> timedelta:
        """From the first reading to the last."""
        return self.until - self.began_at


class LaneSeen(Model):
    """What is known of the lane at one service of a release."""

    came: int = Field(ge=0, description="Requests that had the lane as they came.")
    given: int = Field(ge=0, description="Requests that were given it here.")
    lost: int = Field(
        default=0,
        ge=0,
        description="Requests that had met a canary in front, and came without it: an estimate.",
    )
    crossed_least: int = Field(
        default=0,
        ge=0,
        description="Of those, the ones that stable got, if the hash of the user decided of all.",
    )
    crossed_most: int = Field(default=0, ge=0, description="Likewise, if chance decided.")
    of: tuple[ServiceName, ...] = Field(
        default=(),
        description="Services whose canaries they had met: one of them does not pass "
        "the lane on, or one between.",
    )

    @property
    def text(self) -> str:
        """For a person, without a full stop."""
        text = f"{many(self.came, 'request')} came with the lane, {self.given:,} were given it"
        if not self.lost:
            return text
        crossed = f"{self.crossed or 'none'} crossed to stable"
        return f"{text}; about {self.lost:,} from {listed(self.of)} came without, and {crossed}"

    @property
    def crossed(self) -> str:
        """How many crossed, for a person; empty: none."""
        if self.crossed_least == self.crossed_most:
            return f"about {self.crossed_most:,}" if self.crossed_most else ""
        return f"{self.crossed_least:,} to {self.crossed_most:,}"


def seen_of(
    counts: Mapping[str, Sequence[LaneCounts]], in_front: Mapping[str, Collection[str]]
) -> dict[str, LaneSeen]:
    """What is known of the lane at each service that counted.

    A router can't tell a request that lost the lane from one that never had it. But it is known how
    many the canary of a service in front was given meanwhile, and how many calls a request there
    causes: what is missing among those that came with the lane was not passed on. Which version
    they got was decided by the hash of the user, or by chance where no user is passed on either.

    Args:
        counts: by service, in the order of time.
        in_front: by service, those that call it, directly or not.
    """
    return {
        service: _at(own, {one: counts.get(one, ()) for one in in_front.get(service, ())})
        for service, own in counts.items()
        if own
    }


class _Sums:
    """Adds up what was lost in the times of one service."""

    def __init__(self) -> None:
        self.lost = self.least = self.most = 0.0
        self.of: dict[str, None] = {}

    def add(self, own: LaneCounts, in_front: Mapping[str, Sequence[LaneCounts]]) -> None:
        """Take one time of the service."""
        met = to_canary = 0.0
        of = []
        for name, windows in in_front.items():
            for one in windows:
                share = _overlap(own, one)
                there, here = one.total * share, own.total * _overlap(one, own)
                if not (there and here):
                    continue
                expected = one.given * share * min(1.0, here / there)
                met += expected
                to_canary += expected * min(1.0, own.weight / one.weight if one.weight else 1.0)
                of += [name] if expected else []
        lost = met - own.came
        if lost <= _BY_CHANCE * met**0.5:
            return
        self.of |= dict.fromkeys(of)
        self.lost += lost
        self.least += min(own.stable, lost * (1 - to_canary / met))
        self.most += min(own.stable, lost * (1 - own.weight / 100))


def _at(own: Sequence[LaneCounts], in_front: Mapping[str, Sequence[LaneCounts]]) -> LaneSeen:
    sums = _Sums()
    for one in own:
        sums.add(one, in_front)
    return LaneSeen(
        came=sum(one.came for one in own),
        given=sum(one.given for one in own),
        lost=round(sums.lost),
        crossed_least=round(sums.least),
        crossed_most=round(sums.most),
        of=tuple(sums.of),
    )


def _overlap(own: LaneCounts, other: LaneCounts) -> float:
    """Which part of another's time lay in one's own, 0 to 1."""
    common = min(own.until, other.until) - max(own.began_at, other.began_at)
    if common <= timedelta(0) or not other.lasted:
        return 0.0
    return common / other.lasted
