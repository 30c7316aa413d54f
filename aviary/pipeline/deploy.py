"""One job: asks for a release, follows it, and ends as it did."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from aviary.pipeline.client import Answer, Server
from aviary.releases.failing import CommandError, ExitCode, UnansweredError
from schemas.outside import cut, one_line

POLL_S: Final = 2.0
APPEAR_S: Final = 300.0
"""Seconds that an event may take to become a release."""
_LINE_MOST: Final = 500
_ESCAPED: Final = re.compile(r"\\([\\*_~|#\[\]{}$])")
_PLACE: Final = re.compile(r"releases/[A-Za-z0-9._-]{1,128}/summary\?of=[0-9a-f]{16}")
_FINALIZED: Final = "finalized"
_ROLLED_BACK: Final = "rolled_back"
_ACCEPTED, _OK, _UNCHANGED = 202, 200, 304
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND = 401, 403, 404
_BAD: Final = frozenset({400, 413, 415, 422})
_PHASE, _ASKS = "aviary-phase", "aviary-asks"


class Until(StrEnum):
    """How long a job waits."""

    END = "end"
    """Until the release has ended."""
    PERSON = "person"
    """Until it has ended, or waits for a person."""
    ACCEPTED = "accepted"
    """Not at all: the event lies safely on Kafka."""


@dataclass(frozen=True)
class Outcome:
    """How a job ends."""

    code: ExitCode
    text: str
    """In one sentence."""
    summary: str = ""
    """Markdown; empty where nothing was seen of the release."""


@dataclass
class _Seen:
    """What was last seen of a release."""

    phase: str = ""
    asks: bool = False
    etag: str = ""
    summary: str = ""

    def take(self, answer: Answer) -> None:
        self.phase = answer.headers.get(_PHASE, "")
        self.asks = answer.headers.get(_ASKS) == "true"
        if answer.status == _OK:
            self.etag = answer.headers.get("etag", "")
            self.summary = answer.body.decode("utf-8", "replace")

    @property
    def headline(self) -> str:
        first = self.summary.partition("\n")[0].removeprefix("## ")
        text = _ESCAPED.sub(r"\1", first).replace("&lt;", "<").replace("&amp;", "&")
        return one_line(cut(text, _LINE_MOST))


class Job:
    """Takes one event through.

    Args:
        server: is asked.
        tell: told what is new, a line each.
        until: how long it waits.
        appear_s: seconds that the event may take to become a release.
    """

    def __init__(
        self,
        server: Server,
        tell: Callable[[str], None],
        until: Until = Until.END,
        appear_s: float = APPEAR_S,
    ) -> None:
        self._server, self._tell = server, tell
        self._until, self._appear_s = until, appear_s
        self._seen = _Seen()

    @property
    def summary(self) -> str:
        """Markdown of what was last seen; empty where nothing was."""
        return self._seen.summary

    def run(self, event: bytes) -> Outcome:
        """Ask for what the event says, and wait.

        Raises:
            CommandError: it was refused, or nobody answered in time.
        """
        place = self._ask(event)
        if self._until is Until.ACCEPTED:
            return Outcome(ExitCode.OK, "the event is accepted")
        return self._follow(place)

    def _ask(self, event: bytes) -> str:
        headers = {"Content-Type": "application/cloudevents+json"}
        answer = self._server.ask("POST", "events", headers, event)
        if answer.status != _ACCEPTED:
            code = ExitCode.BAD_INPUT if answer.status in _BAD else ExitCode.FAILURE
            raise CommandError(code, f"refused: {answer.why}")
        self._tell("accepted: the event lies on Kafka")
        place = answer.headers.get("location", "")
        if self._until is Until.ACCEPTED:
            return place
        if not _PLACE.fullmatch(place):
            text = (
                "accepted, but the server does not say where the release is told of, expected "
                "one with AVIARY_CALLERS_FILE"
            )
            raise CommandError(ExitCode.FAILURE, text)
        return place

    def _follow(self, place: str) -> Outcome:
        waited = 0.0
        while True:
            try:
                answer = self._server.ask("GET", place, {"If-None-Match": self._seen.etag or '""'})
            except UnansweredError as error:
                if self._seen.phase:
                    return self._late(error.text)
                raise
            if answer.status == _NOT_FOUND and answer.reason == "unknown":
                if self._seen.phase or waited >= self._appear_s:
                    return Outcome(ExitCode.NOT_FOUND, self._missing(answer), self._seen.summary)
            elif answer.status in {_OK, _UNCHANGED}:
                if (outcome := self._look(answer)) is not None:
                    return outcome
            else:
                raise self._refused(answer)
            waited += POLL_S
            if not self._server.pause(POLL_S):
                return self._late("the time is over")

    def _look(self, answer: Answer) -> Outcome | None:
        """See where the release is; how the job ends, if it does."""
        seen, before = self._seen, self._seen.headline
        seen.take(answer)
        if seen.headline != before:
            self._tell(seen.headline)
        if seen.phase == _FINALIZED:
            return Outcome(ExitCode.OK, seen.headline, seen.summary)
        if seen.phase == _ROLLED_BACK:
            return Outcome(ExitCode.ROLLED_BACK, seen.headline, seen.summary)
        if seen.asks and self._until is Until.PERSON:
            text = f"waits for a person: {seen.headline}"
            return Outcome(ExitCode.WAITING, text, seen.summary)
        return None

    def _late(self, why: str) -> Outcome:
        if not self._seen.phase:
            text = f"{why}, and no release has come of the event yet; it may still"
            return Outcome(ExitCode.NOT_FOUND, text)
        text = f"{why}; the release goes on: {self._seen.headline}"
        return Outcome(ExitCode.TIMED_OUT, text, self._seen.summary)

    def _missing(self, answer: Answer) -> str:
        if self._seen.phase:
            return f"the release has gone: {answer.why}"
        return (
            f"no release has come of the event within {self._appear_s:g} s: it may wait on "
            "aviary.deploys, or be a dead letter"
        )

    def _refused(self, answer: Answer) -> CommandError:
        if answer.status in {_UNAUTHORIZED, _FORBIDDEN}:
            text = f"{answer.why}; to wait for a release takes the role read"
            return CommandError(ExitCode.FAILURE, text)
        code = ExitCode.BAD_INPUT if answer.reason == "other" else ExitCode.FAILURE
        return CommandError(code, answer.why)
