"""What a person may do with a release now, and with which command. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from aviary.releases.words import seen_of, words_now
from schemas.release import CanaryStatus, ReleaseStatus
from schemas.waits import commands


def may(status: ReleaseStatus, canaries: Mapping[str, CanaryStatus]) -> list[str]:
    """What a person may do now: commands that end waits first, and always one that goes back.

    Args:
        status: of the release.
        canaries: those that answer, which know better than their release.
    """
    if status.phase.closed:
        return []
    seen = seen_of(status, canaries)
    if not status.phase.forward:
        where = status.phase.words
        lines = [commands(one.ends_by, status.release, one.service) for one in seen if one.ends_by]
        if lines:
            return [f"The release is {where}. You may: `{'`, `'.join(lines)}`"]
        return [f"Nothing is left to decide: the release is {where}."]
    words = words_now(status, canaries)
    offered = ", ".join(f"{word} ({why})" if why else word for word, why in words.items())
    return [f"You may: {offered}; `aviary release WORD {status.release}`"]
