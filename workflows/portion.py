"""What a canary gets of the requests, as one write of its route says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.audience import Audience, AudienceShare
from schemas.mirroring import NO_TERMS, MirrorTerms
from schemas.route import Mirror


@dataclass(frozen=True)
class Portion:
    """What a canary gets: a share of the requests, or only what no split sends there."""

    weight: float = 0.0
    """Percent."""
    apart: bool = False
    """Only what no split sends there: copies, and requests that ask for it."""
    copied: float = 0.0
    """Share of the requests that are copied, percent."""
    terms: MirrorTerms = NO_TERMS
    whom: str = ""
    """Name of the audience whose requests the weight is a share of; empty: everybody's."""
    audience: Audience | None = None
    kept: tuple[AudienceShare, ...] = ()
    """Whom it is for besides."""
    unlike: str = ""
    """Why it can't be compared with stable there; empty: it can."""

    @property
    def text(self) -> str:
        """In a few words: `5 %`, `20 % of staff`, `copies of 25 %`, `preview`."""
        if self.copied:
            return f"copies of {self.copied:g} %"
        if self.apart:
            return "preview"
        return f"{self.weight:g} %{f' of {self.whom}' if self.whom else ''}"

    @property
    def taken(self) -> float:
        """Share of the requests that its instances are to take, percent: given or copied."""
        return self.copied or max(self.weight, *(one.weight for one in self.kept), 0.0)

    @property
    def of_all(self) -> float:
        """Share of everybody's requests that stable does not have, percent."""
        return self.weight if self.audience is None else 0.0

    def mirror(self, version: str) -> Mirror | None:
        """The copies, to this version."""
        if not self.copied:
            return None
        return Mirror(version=version, share=self.copied, **self.terms.model_dump())
