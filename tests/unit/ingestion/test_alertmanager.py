from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx
import pytest

from adapters.alertmanager import AlertmanagerAlerts
from adapters.errors import AdapterError, Retryable, Terminal
from adapters.memory import MemoryAlertSource
from aviary.recovery import Lost, Recovery
from schemas.alert import Alert
from schemas.loss import LossReason

Handler = Callable[[httpx.Request], httpx.Response]


def _item(state: str = "active", fingerprint: str = "f1") -> dict[str, Any]:
    return {
        "labels": {"alertname": "Errors", "service": "checkout"},
        "annotations": {},
        "fingerprint": fingerprint,
        "startsAt": "2026-01-01T10:00:00Z",
        "endsAt": "2026-01-01T10:04:00Z",
        "updatedAt": "2026-01-01T10:00:00Z",
        "generatorURL": "http://prometheus",
        "receivers": [{"name": "aviary"}],
        "status": {"state": state, "silencedBy": [], "inhibitedBy": [], "mutedBy": []},
    }


async def _firing(
    handler: Handler,
    url: str = "http://alertmanager:9093/am/",
    receiver: str | None = None,
) -> list[Alert]:
    async with httpx.AsyncClient(transport=httpx.MockTransport(handler)) as client:
        return list(await AlertmanagerAlerts(url, client).firing(receiver))


async def test_firing_alerts() -> None:
    asked: list[httpx.URL] = []

    def answer(request: httpx.Request) -> httpx.Response:
        asked.append(request.url)
        states = ("active", "suppressed", "unprocessed")
        items = [_item(state, f"f{n}") for n, state in enumerate(states)]
        return httpx.Response(200, json=items)

    found = await _firing(answer)
    assert [alert.fingerprint for alert in found] == ["f0", "f2"]
    assert {(alert.status, alert.ends_at) for alert in found} == {("firing", None)}
    [url] = asked
    assert url.path == "/am/api/v2/alerts"
    assert (url.params["active"], url.params["silenced"], url.params["inhibited"]) == (
        "true",
        "false",
        "false",
    )


async def test_it_is_the_same_alert_as_in_the_webhook() -> None:
    [asked] = await _firing(lambda _: httpx.Response(200, json=[_item()]))
    assert asked.identity == "f1/2026-01-01T10:00:00+00:00/firing"


@pytest.mark.parametrize(
    ("status", "body", "kind"),
    [
        (500, b"", Retryable),
        (503, b"", Retryable),
        (429, b"", Retryable),
        (302, b"", Retryable),
        (400, b"", Terminal),
        (404, b"", Terminal),
        (200, b"<html>", Retryable),
        (200, b'[{"labels": {}}]', Retryable),
    ],
)
async def test_bad_answers(status: int, body: bytes, kind: type[AdapterError]) -> None:
    with pytest.raises(kind, match="Alertmanager at http://alertmanager:9093/am"):
        await _firing(lambda _: httpx.Response(status, content=body))


@pytest.mark.parametrize("error", [httpx.ConnectError("refused"), httpx.ReadTimeout("slow")])
async def test_no_answer_is_retryable(error: httpx.HTTPError) -> None:
    def fail(_: httpx.Request) -> httpx.Response:
        raise error

    with pytest.raises(Retryable, match=type(error).__name__):
        await _firing(fail)


def _two_receivers(request: httpx.Request) -> httpx.Response:
    if request.url.path.endswith("/receivers"):
        return httpx.Response(200, json=[{"name": "aviary"}, {"name": "people"}])
    others = _item(fingerprint="f2") | {"receivers": [{"name": "people"}]}
    both = _item(fingerprint="f3") | {"receivers": [{"name": "people"}, {"name": "aviary"}]}
    return httpx.Response(200, json=[_item(), others, both, _item("suppressed", "f4")])


async def test_what_one_receiver_is_told() -> None:
    assert [alert.fingerprint for alert in await _firing(_two_receivers)] == ["f1", "f2", "f3"]
    found = await _firing(_two_receivers, receiver="aviary")
    assert [alert.fingerprint for alert in found] == ["f1", "f3"]


async def test_an_alertmanager_without_the_receiver_is_not_the_sender() -> None:
    with pytest.raises(Terminal, match="no receiver 'grafana', so it is not the sender"):
        await _firing(_two_receivers, receiver="grafana")


async def test_one_alert_that_cant_be_read_is_no_answer() -> None:
    """A part of what fires must not pass for all of it."""
    odds: list[dict[str, Any]] = [
        {"startsAt": "0001-01-01T00:00:00+02:00"},
        {"labels": {"a": 5}},
        {"status": {}},
    ]
    for odd in odds:
        items = [_item(), _item() | odd]
        with pytest.raises(Retryable, match="not an answer of its API"):
            await _firing(lambda _, items=items: httpx.Response(200, json=items))  # type: ignore[misc]


async def test_a_large_alert_is_cut_like_one_that_was_sent() -> None:
    item = _item() | {"annotations": {"summary": "x" * 900_000}}
    [alert] = await _firing(lambda _: httpx.Response(200, json=[item]))
    assert len(alert.model_dump_json()) < 10_000


async def test_an_answer_without_end_is_no_answer() -> None:
    class Endless(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            while True:
                yield b" " * 1_000_000

    with pytest.raises(Retryable, match="larger than"):
        await _firing(lambda _: httpx.Response(200, stream=Endless()))


async def test_memory_tells_only_what_fires() -> None:
    [alert] = await _firing(lambda _: httpx.Response(200, json=[_item()]))
    ended = alert.model_copy(update={"status": "resolved"})
    assert await MemoryAlertSource([alert, ended]).firing() == (alert,)


async def test_of_a_label_set_too_large_what_decides_is_kept() -> None:
    """What was lost is asked for with its service, and preflight looks at it, too."""
    labels = {f"a{n}": "x" for n in range(100)} | {"alertname": "Errors", "service": "checkout"}

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, json=[_item() | {"labels": labels}])

    transport = httpx.MockTransport(answer)
    async with httpx.AsyncClient(transport=transport) as client:
        source = AlertmanagerAlerts("http://alertmanager", client)
        [alert] = await source.firing(kept={"service", "alertname"})
        recovery = Recovery(
            source,
            lambda found: found.get("service"),
            {"checkout"}.__contains__,
            lambda: 1.0,
            deciding=lambda: {"service", "alertname"},
        )
        recovered = await recovery.after(Lost(LossReason.TOO_LARGE, "large"), ())
    assert (alert.name, alert.labels["service"], len(alert.labels)) == ("Errors", "checkout", 64)
    assert [record.key for record in recovered.records] == [b"checkout"]


async def test_others_have_their_turn_while_a_large_answer_is_read() -> None:
    labels = {f"label_{n}": "x" * 40 for n in range(20)} | {"service": "checkout"}
    content = json.dumps([_item(fingerprint=f"f{n}") | {"labels": labels} for n in range(5000)])

    def answer(_: httpx.Request) -> httpx.Response:
        return httpx.Response(200, text=content)

    async with httpx.AsyncClient(transport=httpx.MockTransport(answer)) as client:
        source = AlertmanagerAlerts("http://alertmanager", client)
        recovery = Recovery(
            source, lambda found: found["service"], lambda _: True, lambda: 1.0, ask_s=60
        )
        asking = asyncio.create_task(recovery.after(Lost(LossReason.TOO_LARGE, "large"), ()))
        turns = 0
        while not asking.done():
            await asyncio.sleep(0.01)
            turns += 1
    assert len((await asking).records) == 5000
    assert turns > 5
