"""What is told of a commit, in the order in which it is true, whatever order notices come in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Final, Protocol

import httpx

from adapters.errors import AdapterError, Retryable, Terminal
from adapters.links import Links
from adapters.secrets import Secret
from schemas.commit import Commit, commit_of
from schemas.event_kinds import NoticeKind
from schemas.notice import Notice
from schemas.outside import cut, inert

TIMEOUT_S: Final = 4.0
"""Of one request: a handful of them fit into an attempt of the activity."""
TEXT_MOST: Final = 140
"""Characters of a status: what GitHub takes."""
ANSWER_MOST: Final = 4 * 1024 * 1024
_AGAIN: Final = frozenset({408, 425, 429})
_SERVER: Final = 500


class State(StrEnum):
    """Of a release, to a commit."""

    RUNNING = "running"
    WAITING = "waiting"
    """For a person."""
    FAILED = "failed"
    """It goes back, or has."""
    DONE = "done"

    @property
    def final(self) -> bool:
        """Whether nothing but a final state may come after it."""
        return self in {State.FAILED, State.DONE}


STATES: Final[Mapping[NoticeKind, State]] = {
    NoticeKind.STARTED: State.RUNNING,
    NoticeKind.WAITING: State.WAITING,
    NoticeKind.ROLLING_BACK: State.FAILED,
    NoticeKind.STUCK: State.FAILED,
    NoticeKind.ROLLED_BACK: State.FAILED,
    NoticeKind.FINISHED: State.DONE,
}
"""What each kind of notice means to a commit; one that is not here means nothing."""


@dataclass(frozen=True)
class Said:
    """What a commit is told."""

    commit: Commit
    state: State
    release: str
    text: str
    environment: str
    url: str
    """Where more is shown; empty: nowhere."""

    @property
    def name(self) -> str:
        """Of the status: one for each environment."""
        return f"aviary/{self.environment}"

    @property
    def begins(self) -> str:
        """By which a status of this release is known."""
        return f"{self.release}: "


class Platform(Protocol):
    """One place of commits."""

    name: str

    async def tell(self, api: Api, said: Said) -> None:
        """Show it at the commit. Raises `Retryable` or `Terminal`."""
        ...

    def headers(self, token: str) -> Mapping[str, str]:
        """By which it knows us."""
        ...

    @property
    def url(self) -> str:
        """Of its API."""
        ...


class CommitNotifier:
    """Keeps the commits of releases up.

    A notice may come late, twice, or after one that followed it: a final state of a release stays.
    A release without a commit in its labels, or of a repository that is not among those of the
    connection, is told of nowhere.

    Args:
        name: of the channel, in errors.
        platform: where commits are.
        token: lets us in.
        repositories: patterns of those that are told of.
        links: to the pages about a release.
    """

    def __init__(
        self,
        name: str,
        platform: Platform,
        token: Secret,
        repositories: Sequence[str],
        links: Links | None = None,
    ) -> None:
        self._name, self._platform, self._token = name, platform, token
        self._repositories, self._links = repositories, links or Links()
        self.service = platform.name
        """What kind of service it is."""

    async def notify(self, notice: Notice) -> None:
        """Tell the commit of a notice's release.

        Raises:
            Retryable: the platform was away, or busy.
            Terminal: it refused.
        """
        said = self._said(notice)
        if said is None:
            return
        failure: AdapterError | None = None
        try:
            await self._tell(said)
        except AdapterError as error:
            failure = type(error)(f"channel {self._name}: {self._platform.name}: {error}")
        if failure is not None:  # without what it came of, which may show the token
            raise failure

    async def _tell(self, said: Said) -> None:
        headers = self._platform.headers(self._token.read())
        async with httpx.AsyncClient(
            base_url=self._platform.url, headers=headers, timeout=TIMEOUT_S
        ) as http:
            await self._platform.tell(Api(http), said)

    def _said(self, notice: Notice) -> Said | None:
        commit, state = commit_of(notice.labels), STATES.get(notice.kind)
        if commit is None or state is None:
            return None
        if not any(fnmatchcase(commit.repository, one) for one in self._repositories):
            return None
        pages = list(self._links.of(notice).values())
        text = inert(f"{notice.release}: {notice.text}")
        return Said(
            commit=commit,
            state=state,
            release=inert(notice.release),
            text=cut(text, TEXT_MOST),
            environment=notice.environment or "default",
            url=pages[-1] if pages else "",
        )


class Api:
    """Asks a platform, with every failure as one of ours."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def get(self, path: str, **query: str) -> list[dict[str, object]]:
        """A list of things."""
        found = await self._ask("GET", path, query=query)
        if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
            raise Terminal(f"GET {path}: expected a list of objects")
        return found

    async def send(
        self, method: str, path: str, body: Mapping[str, object], same: str = ""
    ) -> object:
        """Make or change something; None where a 400 says `same`: it is so already."""
        return await self._ask(method, path, body=body, same=same)

    async def _ask(
        self,
        method: str,
        path: str,
        *,
        query: Mapping[str, str] | None = None,
        body: Mapping[str, object] | None = None,
        same: str = "",
    ) -> object:
        what = f"{method} {path}"
        try:
            answer = await self._http.request(method, path.lstrip("/"), params=query, json=body)
        except httpx.HTTPError as error:
            raise Retryable(f"{what}: {type(error).__name__}") from None
        if same and answer.status_code == httpx.codes.BAD_REQUEST and same in answer.text:
            return None
        if answer.status_code >= _SERVER or answer.status_code in _AGAIN or _limited(answer):
            raise Retryable(f"{what}: answers {answer.status_code}")
        if not answer.is_success:
            raise Terminal(f"{what}: answers {answer.status_code}")
        if len(answer.content) > ANSWER_MOST:
            raise Terminal(f"{what}: its answer is larger than {ANSWER_MOST} bytes")
        try:
            return answer.json()
        except ValueError:
            raise Terminal(f"{what}: expected JSON") from None


def _limited(answer: httpx.Response) -> bool:
    """Whether a 403 is about how often we ask, as GitHub says it."""
    return answer.headers.get("x-ratelimit-remaining") == "0" or "retry-after" in answer.headers
