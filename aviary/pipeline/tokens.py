"""The token of a job: from its environment, a file, or GitHub's own issuer; asked for each time."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, Protocol
from urllib.parse import quote

import httpx

from aviary.releases.failing import CommandError, ExitCode
from schemas.files import UnreadableError, decoded, read_bounded

_MOST: Final = 16 * 1024
_FRESH_S: Final = 180.0
"""Seconds that an ID token of GitHub is used: it lives for five minutes."""
_ANSWER_MOST: Final = 64 * 1024


class Token(Protocol):
    """What a job proves itself with."""

    def read(self, *, refused: bool = False) -> str:
        """The token now; `refused`: the last one was, and another may be there by now.

        Raises:
            CommandError: there is none.
        """
        ...


class TokenOf:
    """A token that never changes."""

    def __init__(self, name: str, text: str) -> None:
        self._text = _clean(name, text)

    def read(self, *, refused: bool = False) -> str:
        """See `Token`."""
        del refused
        return self._text


class TokenFile:
    """A token in a file that somebody else may renew."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def read(self, *, refused: bool = False) -> str:
        """See `Token`."""
        del refused
        try:
            text = decoded(read_bounded(self._path, _MOST))
        except UnreadableError as error:
            why = f"--token-file: got '{self._path}', expected {error}"
            raise CommandError(ExitCode.BAD_INPUT, why) from None
        return _clean("--token-file", text)


class GitHubToken:
    """An ID token of the job's own, which GitHub makes for an audience.

    Args:
        http: asks GitHub.
        url: the job's `ACTIONS_ID_TOKEN_REQUEST_URL`.
        secret: its `ACTIONS_ID_TOKEN_REQUEST_TOKEN`.
        audience: whom the token is for, as AVIARY_CALLERS_FILE has it.
        clock: seconds, never going back.
    """

    def __init__(
        self, http: httpx.Client, url: str, secret: str, audience: str, clock: Callable[[], float]
    ) -> None:
        self._http, self._clock = http, clock
        joined = "&" if "?" in url else "?"
        self._url = f"{url}{joined}audience={quote(audience, safe='')}"
        self._secret = _clean("ACTIONS_ID_TOKEN_REQUEST_TOKEN", secret)
        self._kept: tuple[float, str] | None = None

    def read(self, *, refused: bool = False) -> str:
        """See `Token`; what fails at GitHub is tried again with what it is for."""
        now = self._clock()
        if self._kept is None or refused or now - self._kept[0] >= _FRESH_S:
            headers = {"Authorization": f"Bearer {self._secret}"}
            answer = self._http.get(self._url, headers=headers)
            self._kept = now, _id_token(answer)
        return self._kept[1]


def _id_token(answer: httpx.Response) -> str:
    found: object = None
    if answer.status_code == httpx.codes.OK and len(answer.content) <= _ANSWER_MOST:
        try:
            found = answer.json()
        except ValueError:
            found = None
    value = found.get("value") if isinstance(found, dict) else None
    if not isinstance(value, str):
        text = (
            f"GitHub's issuer of ID tokens: got status {answer.status_code}, expected a token; "
            "has the job `permissions: {id-token: write}`?"
        )
        raise CommandError(ExitCode.FAILURE, text)
    return _clean("GitHub's ID token", value)


def _clean(name: str, text: str) -> str:
    """A token without the blanks around it; never in an error.

    Raises:
        CommandError: it is none.
    """
    token = text.strip()
    if not token or len(token) > _MOST or not token.isascii() or not token.isprintable():
        expected = "a token of visible characters on one line"
        raise CommandError(ExitCode.BAD_INPUT, f"{name}: expected {expected}, got something else")
    return token
