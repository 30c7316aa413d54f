"""A flag as a router: a route is written into the file that flagd and OpenFeature's providers read.

A write is: take the lock of the file's folder, read, check the generation, have OpenFeature's own
code read what is going to be written, replace the file as a whole. Then the file is read again, and
made-up users are evaluated. Providers look at the file by themselves, within their own interval.
"""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any, Final

from adapters.errors import ForeignChange, Retryable, Terminal, UnknownRoute
from adapters.routers.fence import change_in, check_able, check_generation, check_over, known
from adapters.routers.files import locked, other_writer, said_by_path, write_text
from adapters.routers.flag_people import People
from adapters.routers.flag_shares import USERS, check_kept, looked_at
from adapters.routers.flagd.capabilities import CAPABILITIES
from adapters.routers.flagd.definitions import Definition, Served, flag_in, serving
from adapters.routers.flagd.evaluation import Evaluation
from schemas.route import Confirmation, Route

_LOCK_WITHIN: Final = 1.0
_MOST_BYTES: Final = 10_000_000


class FlagdRouter:
    """A `Router` over flag definitions in a file. Workers in several processes may share it.

    Args:
        file: with the flag definitions, JSON of at most 10 MB.
        flag: key of the flag; None: each service is the flag of its name.
        users: made-up users who are evaluated after a write.
        lock_within: seconds to wait for another writer.
    """

    def __init__(
        self,
        file: Path,
        flag: str | None = None,
        *,
        users: int = USERS,
        lock_within: float = _LOCK_WITHIN,
    ) -> None:
        self._file = file
        self._flag = flag
        self._users = users
        self._lock_within = lock_within

    async def locate(self, service: str, version: str) -> str:  # noqa: ARG002 - flags have keys
        """The variant: `feature_flag.result.variant` of OpenTelemetry's semantic conventions."""
        return version

    async def exists(self, service: str, version: str) -> bool:
        """Whether the flag has such a variant."""
        _, document = await asyncio.to_thread(self._read)
        flag = flag_in(document, self._key(service))
        return flag is not None and version in flag.variants

    async def read(self, service: str) -> Route:
        """The route in the flag's metadata; of a flag that has none, all to its default variant."""
        _, document = await asyncio.to_thread(self._read)
        return self._known(document, service).route(service)

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Write the route, read it back, and evaluate made-up users (see the port).

        Raises:
            Terminal: besides, the flag has targeting rules that are not Aviary's, and the write is
                no rollback.
        """
        check_able(route, CAPABILITIES)
        await asyncio.to_thread(self._apply, route, over)
        return Confirmation(route=route, mark=f"{self._key(route.service)}/{route.generation}")

    async def changed(self, route: Route) -> str:
        """What the flag does otherwise than the route, where somebody else has written in it."""
        _, document = await asyncio.to_thread(self._read)
        flag = self._known(document, route.service)
        return change_in(partial(self._check, flag, route, route))

    async def aclose(self) -> None:
        """It holds nothing."""

    def _key(self, service: str) -> str:
        return self._flag or service

    def _known(self, document: dict[str, Any], service: str) -> Definition:
        flag = flag_in(document, self._key(service))
        if flag is None:
            known(None, service)
            raise AssertionError
        return flag

    def _apply(self, route: Route, over: Route | None) -> None:
        key = self._key(route.service)
        with locked(self._file.parent, self._lock_within):
            before, document = self._read()
            flag = self._known(document, route.service)
            self._check(flag, route, over)
            self._check_variants(flag, route)
            document["flags"][key] = flag.with_route(route)
            text = json.dumps(document, indent=2, ensure_ascii=False)
            if over is not None:
                Evaluation(text)  # a rollback is written all the same
            write_text(self._file, f"{text}\n")
        self._confirm(route, flag, before)

    def _check(self, flag: Definition, route: Route, over: Route | None) -> None:
        """Raise if a route may not be written."""
        if not flag.is_marked:
            self._check_unmarked(flag, route, over)
            return
        applied = _applied(flag, route.service) if over is None else flag.route(route.service)
        if applied is None:
            return
        check_generation(route, applied)
        if over is not None and flag.served != serving(applied):
            what = f"found {_text(flag.served)}, expected {_text(serving(applied))}"
            raise ForeignChange(route.service, what, other_writer(self._file))
        check_over(route, applied, over)

    def _check_unmarked(self, flag: Definition, route: Route, over: Route | None) -> None:
        if over is None:
            return
        if over.generation:
            what = f"found no mark of Aviary's in flag {flag.key}, expected {over.text}"
            raise ForeignChange(route.service, what, other_writer(self._file))
        if flag.served.targeting:
            raise Terminal(
                f"{route.service}: flag {flag.key} has targeting rules of its own, expected none: "
                "Aviary would write over them"
            )
        check_over(route, flag.route(route.service), over)

    def _check_variants(self, flag: Definition, route: Route) -> None:
        for version in route.versions:
            if version not in flag.variants:
                raise UnknownRoute(
                    f"{route.service}: flag {flag.key} has no variant {version}; expected one of: "
                    f"{', '.join(sorted(flag.variants)) or 'none is there'}"
                )

    def _confirm(self, route: Route, written: Definition, before: str) -> None:
        """Evaluate what is there now."""
        text, document = self._read()
        there = self._known(document, route.service)
        if there.route(route.service) != route:
            raise Retryable(f"{route.service}: another writer was in {self._file} at the same time")
        variant, _ = looked_at(route)
        key, variants = there.key, there.variants
        people = People(route, _applied(written, route.service))
        now, looked = Evaluation(text).sample(key, variants, variant, self._users, people)
        people.check(now, looked)
        if (others := people.kept(now, looked)) and variant in written.variants:
            had = Evaluation(before).with_variant(key, written.variants, variant, others, people)
            check_kept(route, had, now)

    def _read(self) -> tuple[str, dict[str, Any]]:
        """The file, as it is and parsed.

        Raises:
            Retryable: it is not there, too large, or no JSON object: somebody must repair it.
        """
        with said_by_path(self._file), self._file.open("rb") as file:
            content = file.read(_MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise Retryable(f"{self._file}: expected at most {_MOST_BYTES:,} bytes")
        try:
            text = content.decode()
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise Retryable(f"{self._file}: expected JSON: {error}") from None
        if not isinstance(document, dict):
            raise Retryable(f"{self._file}: expected an object, found {type(document).__name__}")
        return text, document


def _applied(flag: Definition, service: str) -> Route | None:
    """What was applied last; None without a mark, or with one that somebody has spoilt."""
    try:
        return flag.route(service) if flag.is_marked else None
    except Terminal:
        return None


def _text(served: Served) -> str:
    """For a person."""
    rules = json.dumps(served.targeting)[:200] if served.targeting else "no targeting"
    return f"{served.state}, {served.default} by default, {rules}"
