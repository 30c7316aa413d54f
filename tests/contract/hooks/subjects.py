"""What the suite needs of a member of the port: what came, and what is said to it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Protocol

from adapters.errors import Retryable
from adapters.hooks.http.caller import HttpHook
from adapters.hooks.http.connection import HttpHookConnection
from adapters.memory import MemoryHook
from adapters.ports import HookCaller
from schemas.hooks import HookAnswer, HookData, HookEvent, HookMoment, Said, call_id
from tests.contract.hooks.example import Example
from tests.contract.hooks.receiver import Receiver, receiving

KEY = bytes(range(32))
SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
HEADER = "c4n4rys3cr3t26"
AT = datetime(2026, 1, 1, 10, tzinfo=UTC)


def event(step: int = 1, **more: object) -> HookEvent:
    """What a hook is sent before a step."""
    release, service, name = "shop-42", "checkout", "smoke-test"
    data = HookData.model_validate(
        {
            "hook": name,
            "moment": HookMoment.BEFORE_STEP,
            "environment": "production",
            "release": release,
            "service": service,
            "version": "1.4.2",
            "stable": "1.4.1",
            "step": step,
            "steps": 3,
            "weight": 5,
            "answer_by": AT + timedelta(minutes=5),
            **more,
        }
    )
    known = call_id(
        environment="production",
        release=release,
        service=service,
        hook=name,
        moment=data.moment,
        step=step,
    )
    return HookEvent(
        source=f"/aviary/release/{release}", id=known, time=AT, subject=service, data=data
    )


class Subject(Protocol):
    """One member of the port, under test."""

    caller: HookCaller

    def arrived(self) -> list[HookEvent]:
        """What came, each call."""

    def says(self, answer: HookAnswer) -> None:
        """What it is answered from now on."""

    def break_down(self) -> None:
        """Answer nothing that is an answer."""


class MemorySubject:
    """All in memory."""

    def __init__(self) -> None:
        self._hook = MemoryHook()
        self.caller: HookCaller = self._hook

    def arrived(self) -> list[HookEvent]:
        return list(self._hook.calls)

    def says(self, answer: HookAnswer) -> None:
        self._hook.answers["smoke-test"] = answer

    def break_down(self) -> None:
        self._hook.failure = Retryable("away")


def connection(receiver: Receiver, **more: object) -> HttpHookConnection:
    """How a receiver is reached."""
    given = {"url": receiver.url, "secret": SECRET, "headers": {"x-api-key": HEADER}}
    return HttpHookConnection.model_validate({**given, **more})


class Http:
    """A real server."""

    def __init__(self, receiver: Receiver) -> None:
        self.receiver = receiver
        self.caller: HookCaller = HttpHook(connection(receiver), timeout=timedelta(seconds=20))

    def arrived(self) -> list[HookEvent]:
        return [HookEvent.model_validate_json(one.body) for one in self.receiver.requests]

    def says(self, answer: HookAnswer) -> None:
        body = json.dumps({"verdict": answer.said, "reason": answer.reason}).encode()
        match answer.said:
            case Said.NO:
                self.receiver.says(409, body, content_type="application/json")
            case Said.LATER if answer.ask_again is not None:
                again = f"{answer.ask_again.total_seconds():.0f}"
                self.receiver.says(202, body, retry_after=again)
            case _:
                self.receiver.says(200, body, content_type="application/json")

    def break_down(self) -> None:
        self.receiver.says(503, f"who sent {SECRET} and {HEADER}?".encode())


@asynccontextmanager
async def subject(kind: str) -> AsyncIterator[Subject]:
    """Make a member and what it needs."""
    match kind:
        case "memory":
            yield MemorySubject()
        case "http":
            async with receiving() as receiver:
                member = Http(receiver)
                try:
                    yield member
                finally:
                    await member.caller.aclose()
        case "example":
            async with Example().running() as example:
                yield example
        case _:
            raise AssertionError(kind)


KINDS = ("memory", "http", "example")
