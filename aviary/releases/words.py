"""Which words a person may say to a release now, and what each does. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from schemas.release import CanaryStatus, ReleasePhase, ReleaseStatus, ServiceStatus
from schemas.waits import made_for, pauses

_ENDS = {"approve": "whatever fires", "skip": "whatever fires"}
"""What a command does that ends a wait for alerts."""
Seen = Sequence[CanaryStatus | ServiceStatus]


def seen_of(status: ReleaseStatus, canaries: Mapping[str, CanaryStatus]) -> Seen:
    """The services of a release, as the canaries that answer know them better."""
    return [canaries.get(one.service) or one for one in status.services]


def words_now(status: ReleaseStatus, canaries: Mapping[str, CanaryStatus]) -> dict[str, str]:
    """The words that would do something, those first that end a wait, and what each does.

    Args:
        status: of the release.
        canaries: those that answer.
    """
    if status.phase.closed:
        return {}
    seen = seen_of(status, canaries)
    if not status.phase.forward:
        return {word: "ends the wait" for one in seen for word in one.ends_by}
    words = _words(seen, paused=status.paused or any(pauses(one) for one in seen))
    if not status.paused:
        words["pause"] = ""
    words["rollback"] = "leaves the queue" if status.phase is ReleasePhase.QUEUED else ""
    return words


def _words(seen: Seen, *, paused: bool) -> dict[str, str]:
    """The commands that end waits, and what each does."""
    words = made_for(one.phase for one in seen)
    for one in seen:
        for word in one.ends_by:
            words.setdefault(word, _ENDS.get(word, "ends the wait"))
    if paused:
        words["resume"] = "goes on"
    return words
