"""The server as a job asks it: again while it is away or busy, until a deadline, in bounds."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

import httpx

from aviary.pipeline.tokens import Token
from aviary.releases.failing import CommandError, ExitCode, UnansweredError
from schemas.outside import TEXT_MOST, cut, one_line

ANSWER_MOST: Final = 4 * 1024 * 1024
"""Bytes of an answer."""
REQUEST_S: Final = 30.0
"""Seconds that one request may take."""
_FIRST_WAIT_S: Final = 1.0
_LONGEST_WAIT_S: Final = 30.0
_AGAIN: Final = frozenset({408, 425, 429, 500, 502, 503, 504})
"""Answers after which the same is asked again: nothing that is asked here has a second effect."""
_UNAUTHORIZED: Final = 401


@dataclass(frozen=True)
class Answer:
    """What the server said."""

    status: int
    headers: Mapping[str, str]
    """By name in lower case."""
    body: bytes

    @property
    def why(self) -> str:
        """Why it was refused, in the server's words."""
        return self._member("detail") or f"the server answers {self.status}"

    @property
    def reason(self) -> str:
        """The same in one word, for programs; empty where nothing of ours has answered."""
        return self._member("reason")

    def _member(self, name: str) -> str:
        try:
            problem = json.loads(self.body)
        except (ValueError, RecursionError):
            return ""
        text = problem.get(name) if isinstance(problem, dict) else None
        return one_line(cut(text, TEXT_MOST)) if isinstance(text, str) else ""


@dataclass(frozen=True)
class Time:
    """The time of a job, and how it waits."""

    clock: Callable[[], float]
    """Seconds, never going back."""
    sleep: Callable[[float], None]
    chance: Callable[[], float]
    """From 0 to 1: jobs that were refused together do not come again together."""


class Server:
    """Asks one server.

    Args:
        url: where it is, with the path before `/events`, if there is one.
        token: of the job.
        http: sends; redirects are not followed, for a token would go along.
        time: how it waits.
        deadline: when it gives up, on the clock of `time`.
        tell: told once when it has to wait, and why.
    """

    def __init__(  # noqa: PLR0913, PLR0917 - its parts
        self,
        url: str,
        token: Token,
        http: httpx.Client,
        time: Time,
        deadline: float,
        tell: Callable[[str], None],
    ) -> None:
        self._url, self._token, self._http = url.rstrip("/"), token, http
        self._time, self._deadline, self._tell = time, deadline, tell
        self._told = ""

    def ask(
        self,
        method: str,
        path: str,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> Answer:
        """The server's answer, once it has one.

        Raises:
            UnansweredError: it had none before the deadline.
            CommandError: it can't be asked at all.
        """
        wait, refused = _FIRST_WAIT_S, False
        while True:
            why, after = "", 0.0
            try:
                answer = self._once(method, path, dict(headers or {}), content, refused=refused)
            except httpx.TransportError as error:
                if _distrusts(error):
                    text = f"{self._url}: its certificate is not trusted: {error}"
                    raise CommandError(ExitCode.FAILURE, text) from None
                why = f"{self._url}: {str(error) or type(error).__name__}"
            else:
                if answer.status == _UNAUTHORIZED and not refused:
                    refused = True  # it may just have expired
                    continue
                if answer.status not in _AGAIN:
                    self._told = ""
                    return answer
                why, after = f"{self._url}: {answer.why}", _seconds(answer.headers)
            self._wait(max(after, wait * (0.5 + self._time.chance() / 2)), why)
            wait, refused = min(wait * 2, _LONGEST_WAIT_S), False

    def pause(self, seconds: float) -> bool:
        """Wait between two questions; whether there is still time."""
        left = self._deadline - self._time.clock()
        if left <= 0:
            return False
        self._time.sleep(min(seconds, left))
        return True

    def _wait(self, seconds: float, why: str) -> None:
        if self._time.clock() + seconds >= self._deadline:
            raise UnansweredError(ExitCode.FAILURE, f"given up, for the time is over: {why}")
        if why != self._told:
            self._told = why
            self._tell(f"asking again: {why}")
        self._time.sleep(seconds)

    def _once(
        self,
        method: str,
        path: str,
        headers: dict[str, str],
        content: bytes | None,
        *,
        refused: bool,
    ) -> Answer:
        headers["Authorization"] = f"Bearer {self._token.read(refused=refused)}"
        ends = self._time.clock() + REQUEST_S
        body = bytearray()
        with self._http.stream(
            method, f"{self._url}/{path}", headers=headers, content=content
        ) as got:
            for chunk in got.iter_bytes():
                body += chunk
                if len(body) > ANSWER_MOST:
                    text = f"{self._url}: its answer is larger than {ANSWER_MOST} bytes"
                    raise CommandError(ExitCode.FAILURE, text)
                if self._time.clock() > ends:
                    raise httpx.ReadTimeout(f"no whole answer within {REQUEST_S:g} s")
            return Answer(got.status_code, dict(got.headers), bytes(body))


def _distrusts(error: BaseException | None) -> bool:
    """Whether a certificate is what is wrong: asking again would not help."""
    while error is not None:
        if isinstance(error, ssl.SSLCertVerificationError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _seconds(headers: Mapping[str, str]) -> float:
    """What `Retry-After` says, within reason."""
    text = headers.get("retry-after", "")
    whole = text.isascii() and text.isdecimal() and len(text) <= len(str(int(_LONGEST_WAIT_S))) + 2
    return min(float(text), 2 * _LONGEST_WAIT_S) if whole else 0.0
