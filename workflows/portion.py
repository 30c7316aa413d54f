"""What a canary gets of the requests, as one write of its route says. Pure."""

from __future__ import annotations

from dataclasses import dataclass

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

    @property
    def text(self) -> str:
        """In a few words: `5 %`, `copies of 25 %`, `preview`."""
        if self.copied:
            return f"copies of {self.copied:g} %"
        return "preview" if self.apart else f"{self.weight:g} %"

    @property
    def taken(self) -> float:
        """Share of the requests that its instances are to take, percent: given or copied."""
        return self.copied or self.weight

    def mirror(self, version: str) -> Mirror | None:
        """The copies, to this version."""
        if not self.copied:
            return None
        return Mirror(version=version, share=self.copied, **self.terms.model_dump())
