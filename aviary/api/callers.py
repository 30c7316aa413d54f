"""Who calls: the file of callers as it is now, and what a request proves."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from datetime import UTC, datetime
from http import HTTPStatus
from pathlib import Path
from typing import Final

import structlog
from fastapi import Request

from aviary.api.callers_file import CallersError, CallersFile, read_callers
from aviary.api.oidc import Oidc
from aviary.api.problems import Problem
from aviary.api.rates import Rates
from aviary.api.roles import Caller, Role
from aviary.bearer import bearer_of
from schemas.files import mark_of

CREDENTIAL_MOST: Final = 16 * 1024
"""Characters of what a caller proves itself with."""
_DOTS: Final = 2
"""In a signed token; there is none in a token that is made here."""
_LOOK_EVERY_S: Final = 1.0
_log = structlog.get_logger("aviary.webhook")


def check_role(caller: Caller, wanted: Collection[Role]) -> None:
    """Refuse whoever has none of these roles.

    Raises:
        Problem: so it is (403).
    """
    if not caller.has(wanted):
        named = " or ".join(sorted(role.value for role in wanted))
        text = f"{caller.name} has not the role {named}"
        raise Problem(HTTPStatus.FORBIDDEN, "forbidden", text)


class CallersWatch:
    """The newest valid file of callers.

    Args:
        path: its file.
        clock: seconds, never going back.

    Raises:
        CallersError: it is not valid at start.
    """

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._path = path
        self._clock = clock
        self._seen = mark_of(path)
        self._file = read_callers(path)
        self._looked = clock()

    def current(self) -> CallersFile:
        """The file, read again where it has changed, within a second.

        One that is not valid any more is told once, and the last valid one stays in use.
        """
        now = self._clock()
        if now - self._looked < _LOOK_EVERY_S:
            return self._file
        self._looked = now
        mark = mark_of(self._path)
        if mark == self._seen:
            return self._file
        self._seen = mark
        try:
            self._file = read_callers(self._path)
        except CallersError as error:
            _log.error("callers_invalid", path=str(self._path), problems=str(error), kept="old")
        else:
            _log.info(
                "callers_read",
                path=str(self._path),
                tokens=len(self._file.tokens),
                issuers=len(self._file.issuers),
            )
        return self._file


class Callers:
    """Says who calls, and whether it may.

    Args:
        current: the file of callers as it is now.
        rates: how often each may ask.
        clock: the time.
        oidc: says whose an ID token is; None: none is taken.
    """

    def __init__(
        self,
        current: Callable[[], CallersFile],
        rates: Rates,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        oidc: Oidc | None = None,
    ) -> None:
        self._oidc = oidc
        self._current = current
        self._rates = rates
        self._clock = clock

    async def known(self, request: Request) -> Caller:
        """Who calls, as its bearer token proves.

        Raises:
            Problem: nobody who is known.
        """
        given = bearer_of(request)
        if not given:
            text = "authorization: missing, expected a bearer token"
            raise Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", text)
        if len(given) > CREDENTIAL_MOST:
            text = f"authorization: longer than expected, at most {CREDENTIAL_MOST} characters"
            raise Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", text)
        file = self._current()
        if self._oidc is not None and file.issuers and given.count(".") == _DOTS:
            return await self._oidc.caller(file, given)
        caller = file.bearer_of(given, self._clock())
        if caller is None:
            text = "authorization: wrong or expired, expected a token that is known here"
            raise Problem(HTTPStatus.UNAUTHORIZED, "unauthorized", text)
        return caller

    async def allowed(
        self, request: Request, roles: Iterable[Role], *, limited: bool = True
    ) -> Caller:
        """Who calls, if it has one of the roles and does not ask too often.

        Args:
            request: what it asks.
            roles: of which one is enough.
            limited: whether it counts for how often it may ask.

        Raises:
            Problem: it is not known (401), may not (403), or asks too often (429).
        """
        wanted = tuple(roles)
        caller = await self.known(request)
        if limited and (wait_s := self._rates.wait_s(caller.name)):
            text = f"{caller.name} asks too often, expected it again in {wait_s} s"
            raise Problem(HTTPStatus.TOO_MANY_REQUESTS, "too_often", text, wait_s)
        check_role(caller, wanted)
        return caller
