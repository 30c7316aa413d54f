"""What a person may do with a release now, and with which command. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.release import CanaryStatus, ReleasePhase, ReleaseStatus, ServiceStatus
from schemas.waits import commands, made_for, pauses

_ENDS = {"approve": "whatever fires", "skip": "whatever fires"}
"""What a command does that ends a wait for alerts."""
_Seen = Sequence[CanaryStatus | ServiceStatus]


def may(status: ReleaseStatus, canaries: Mapping[str, CanaryStatus]) -> list[str]:
    """What a person may do now: commands that end waits first, and always one that goes back.

    Args:
        status: of the release.
        canaries: those that answer, which know better than their release.
    """
    if status.phase.closed:
        return []
    seen = [canaries.get(one.service) or one for one in status.services]
    if not status.phase.forward:
        where = status.phase.words
        lines = [commands(one.ends_by, status.release, one.service) for one in seen if one.ends_by]
        if lines:
            return [f"The release is {where}. You may: `{'`, `'.join(lines)}`"]
        return [f"Nothing is left to decide: the release is {where}."]
    words = _words(seen, paused=status.paused or any(pauses(one) for one in seen))
    if not status.paused:
        words["pause"] = ""
    words["rollback"] = "leaves the queue" if status.phase is ReleasePhase.QUEUED else ""
    offered = ", ".join(f"{word} ({why})" if why else word for word, why in words.items())
    return [f"You may: {offered}; `aviary release WORD {status.release}`"]


def _words(seen: _Seen, *, paused: bool) -> dict[str, str]:
    """The commands that end waits, and what each does."""
    words = made_for(one.phase for one in seen)
    for one in seen:
        for word in one.ends_by:
            words.setdefault(word, _ENDS.get(word, "ends the wait"))
    if paused:
        words["resume"] = "goes on"
    return words
