"""Whether what a world was told is whole chains."""

from __future__ import annotations

from collections.abc import Sequence

from aviary.audit.gather import Gathered
from aviary.audit.verify import Audit, verify
from schemas.events import CloudEvent


def audits_of(events: Sequence[CloudEvent], *, running: bool = False) -> list[Audit]:
    """One for each release.

    Args:
        events: what was published.
        running: whether releases may not have ended.
    """
    gathered = Gathered()
    for number, event in enumerate(events):
        gathered.take(event.wire(), f"log:{number}")
    return verify(gathered.links, gathered.flaws, running=running)
