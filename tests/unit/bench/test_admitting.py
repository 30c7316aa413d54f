"""The line of the benchmark of admission: as long as it should be, or as it becomes in its time."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest

from bench import admitting, testbed
from schemas.admission import AdmissionState


def test_decisions_are_measured_beside_a_line() -> None:
    assert [len(admitting.decided(queued)) for queued in (0, 20)] == [admitting.DECISIONS] * 2


@pytest.mark.parametrize(("within_s", "reached"), [(60.0, True), (0.2, False)])
async def test_a_line_has_an_end(
    monkeypatch: pytest.MonkeyPatch, within_s: float, reached: bool
) -> None:
    begun: list[str] = []

    async def begin(_: Any, release: str, __: Any) -> None:
        await asyncio.sleep(0.005 if reached else 0.05)
        begun.append(release)

    async def query(*_: Any, **__: Any) -> AdmissionState:
        return AdmissionState(wait=len(begun))

    async def settled(*_: Any) -> None:
        """As soon as they wait."""

    handle = SimpleNamespace(query=query)
    here: Any = SimpleNamespace(client=SimpleNamespace(get_workflow_handle=lambda _: handle))
    monkeypatch.setattr(testbed, "begin", begin)
    monkeypatch.setattr(admitting.Admitting, "_settled", settled)
    line = admitting.Admitting(here)
    waiting = await line.queue(100, within_s)
    assert (waiting == 100) is reached
    assert len(begun) == len(set(begun)) == waiting
    more = await line.queue(len(begun) + 8, 60.0)
    assert len(set(begun)) == len(begun) == more
    assert (admitting._note(100, waiting) == "") is reached
    assert str(waiting) in (admitting._note(100, waiting) or str(waiting))
