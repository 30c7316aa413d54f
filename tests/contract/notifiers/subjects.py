"""What the contract suite needs of a member of the port: what arrived, and a way to break it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Protocol

from pydantic import SecretStr

from adapters.errors import Retryable
from adapters.links import Links
from adapters.memory import MemoryNotifier
from adapters.notifiers.apprise.notifier import AppriseNotifier
from adapters.notifiers.fan_out import FanOut
from adapters.ports import Notifier
from tests.contract.notifiers.receivers import HttpReceiver, MailReceiver, listening

SECRET = "c4n4rys3cr3tc4n4rys3cr3t26"
LINKS = Links("https://temporal.example", "shop", "https://reports.example/aviary/")


class Subject(Protocol):
    """One member of the port, under test."""

    notifier: Notifier

    def arrived(self) -> list[str]:
        """What arrived, each as all of its text."""

    def break_down(self) -> None:
        """Take nothing from now on."""

    def mend(self) -> None:
        """Take everything again."""


class Memory:
    def __init__(self) -> None:
        self.notifier: Notifier = MemoryNotifier()

    @property
    def _memory(self) -> MemoryNotifier:
        assert isinstance(self.notifier, MemoryNotifier)
        return self.notifier

    def arrived(self) -> list[str]:
        return [f"{one.title}\n{one.text}" for one in self._memory.notices]

    def break_down(self) -> None:
        self._memory.failure = Retryable("away")

    def mend(self) -> None:
        self._memory.failure = None


class Http:
    """A webhook (`json://`) or Slack's format to a host of one's own (`mmost://`)."""

    def __init__(self, receiver: HttpReceiver, url: str, text: Callable[[bytes], str]) -> None:
        self.receiver = receiver
        self.notifier: Notifier = AppriseNotifier("oncall", SecretStr(url), LINKS)
        self._text = text

    def arrived(self) -> list[str]:
        return [self._text(body) for _, body in self.receiver.requests]

    def break_down(self) -> None:
        self.receiver.status = 503
        self.receiver.answer = f"who sent {SECRET}?".encode()

    def mend(self) -> None:
        self.receiver.status = 200
        self.receiver.requests.clear()


class Mail:
    def __init__(self, receiver: MailReceiver) -> None:
        self.receiver = receiver
        url = f"mailto://aviary:{SECRET}@127.0.0.1:{receiver.port}?from=a@b.example&to=c@d.example"
        self.notifier: Notifier = AppriseNotifier(
            "oncall", SecretStr(f"{url}&mode=insecure"), LINKS
        )

    def arrived(self) -> list[str]:
        found = []
        for mail in self.receiver.mails:
            body = mail.get_body(("plain",)) or mail.get_body(("html",))
            assert body is not None
            found.append(f"{mail['subject']}\n{body.get_content()}")
        return found

    def break_down(self) -> None:
        self.receiver.answer = f"554 not from {SECRET}"

    def mend(self) -> None:
        self.receiver.answer = "250 taken"


class Fan(Memory):
    """The log and one channel of two addresses; the second is what the suite looks at."""

    def __init__(self) -> None:
        super().__init__()
        self._last = self.notifier
        channels = {"oncall": [MemoryNotifier(), self._last]}
        self.notifier = FanOut(MemoryNotifier(), channels, lambda _: ["oncall", "nosuch"])

    @property
    def _memory(self) -> MemoryNotifier:
        assert isinstance(self._last, MemoryNotifier)
        return self._last


def _json(body: bytes) -> str:
    document = json.loads(body)
    return f"{document['title']}\n{document['message']}"


def _slack(body: bytes) -> str:
    document = json.loads(body)
    return str(document["text"])


@asynccontextmanager
async def subject(kind: str) -> AsyncIterator[Subject]:
    """Make a member and what it needs."""
    http, mail = HttpReceiver(), MailReceiver()
    match kind:
        case "memory":
            yield Memory()
        case "fan":
            yield Fan()
        case "json" | "slack":
            async with listening(http.handle) as http.port:
                scheme, text = ("json", _json) if kind == "json" else ("mmost", _slack)
                url = f"{scheme}://127.0.0.1:{http.port}/{SECRET}"
                yield Http(http, url, text)
        case "mail":
            async with listening(mail.handle) as mail.port:
                yield Mail(mail)
        case _:
            raise AssertionError(kind)


KINDS = ("memory", "fan", "json", "slack", "mail")
