"""Which version of an A/B test all users get, as the word that says it to a release. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from aviary.releases.failing import CommandError, ExitCode
from schemas.catalog_check import listed
from schemas.ids import SIGNAL_APPROVE, SIGNAL_ROLLBACK
from schemas.release import CanaryStatus, Command


def words_of(version: str, service: str, word: str, by: str, reason: str) -> Command:
    """What is said to a release with the word.

    Args:
        version: the winner.
        service: whose test it is.
        word: that decides it; of the loser the whole release goes back, which is one set of
            versions.
        by: who says it.
        reason: in that person's words.
    """
    why = f"picked {version}" + (f": {reason}" if reason else "")
    of = service if word == SIGNAL_APPROVE else None
    # As the release names it, which holds it against its own.
    return Command(by=by, reason=why).model_copy(update={"service": of})


def picked(
    canaries: Mapping[str, CanaryStatus], release: str, version: str, service: str | None
) -> tuple[str, str]:
    """The service whose test is decided, and the word that decides it.

    Args:
        canaries: of the release, those that answer.
        release: its id.
        version: the winner.
        service: whose test; None: there is one.

    Raises:
        CommandError: no test waits, several do, or the version is none of the two.
    """
    asking = {name: one.picks for name, one in canaries.items() if one.picks}
    if service is not None:
        asking = {name: picks for name, picks in asking.items() if name == service}
    if not asking:
        of = f" of {service}" if service else ""
        text = f"release {release}: no A/B test{of} has ended and waits for its winner"
        raise CommandError(ExitCode.FAILURE, text)
    if len(asking) > 1:
        text = f"service: expected one of {listed(asking)}, each a decision of its own"
        raise CommandError(ExitCode.BAD_INPUT, text)
    ((name, (old, *_, new)),) = asking.items()
    if version not in {old, new}:
        text = f"VERSION: got {version}, expected one of {old} (old) and {new} (new)"
        raise CommandError(ExitCode.BAD_INPUT, text)
    return name, SIGNAL_APPROVE if version == new else SIGNAL_ROLLBACK
