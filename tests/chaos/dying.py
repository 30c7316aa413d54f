"""A bridge or webhook that kills itself between two of its own steps; run as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable, Sequence
from enum import StrEnum
from typing import Any

from adapters.kafka import Outgoing, Sender
from aviary.bridge import run_bridge
from aviary.bridge.temporal import TemporalGateway
from aviary.recovery import Recovery
from aviary.settings import Settings
from aviary.webhook import run_webhook
from schemas import ids


class Between(StrEnum):
    """Where it dies."""

    READ_START = "bridge: read | start"
    START_COMMIT = "bridge: start | commit"
    READ_SIGNAL = "bridge: read | signal"
    SIGNAL_COMMIT = "bridge: signal | commit"
    DEAD_LETTER_COMMIT = "bridge: dead letter | commit"
    EVENT_COMMIT = "bridge: event of a stale deploy | commit"
    REQUEST_PRODUCE = "webhook: request | produce"
    PRODUCE_RESPONSE = "webhook: produce | response"
    LOSS_ASK = "webhook: loss | Alertmanager asked"
    ASK_PRODUCE = "webhook: Alertmanager asked | produce"
    ASKED_RESPONSE = "webhook: what fires produced | response"

    @property
    def is_loss(self) -> bool:
        """Whether it dies while it makes a loss of alerts good."""
        return self in {Between.LOSS_ASK, Between.ASK_PRODUCE, Between.ASKED_RESPONSE}


Call = Callable[..., Awaitable[Any]]


def arm(between: Between) -> None:
    """Have this process die there."""
    match between:
        case Between.READ_START | Between.START_COMMIT:
            where: tuple[type, str] = (TemporalGateway, "start")
            step: Callable[..., Any] = _dying(
                TemporalGateway.start, before=between is Between.READ_START
            )
        case Between.READ_SIGNAL | Between.SIGNAL_COMMIT:
            where = (TemporalGateway, "signal")
            step = _dying(TemporalGateway.signal, before=between is Between.READ_SIGNAL)
        case Between.LOSS_ASK | Between.ASK_PRODUCE:
            where = (Recovery, "after")
            step = _dying(Recovery.after, before=between is Between.LOSS_ASK)
        case Between.ASKED_RESPONSE:
            where, step = (Recovery, "written"), lambda *_: _die()
        case _:
            where = (Sender, "send")
            step = _sending(Sender.send, between)
    setattr(*where, step)


def _dying(kept: Call, *, before: bool) -> Call:
    async def call(*args: Any) -> Any:
        if before:
            _die()
        await kept(*args)
        _die()

    return call


_TOPICS = {
    Between.DEAD_LETTER_COMMIT: ids.TOPIC_DEADLETTERS,
    Between.EVENT_COMMIT: ids.TOPIC_EVENTS,
    Between.REQUEST_PRODUCE: ids.TOPIC_ALERTS,
    Between.PRODUCE_RESPONSE: ids.TOPIC_ALERTS,
}


def _sending(kept: Call, between: Between) -> Call:
    async def send(self: Sender, records: Sequence[Outgoing]) -> None:
        fatal = any(record.topic == _TOPICS[between] for record in records)
        if fatal and between is Between.REQUEST_PRODUCE:
            _die()
        await kept(self, records)
        if fatal:
            _die()

    return send


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


async def main() -> None:
    """Run until killed; the place and the settings (JSON) come as arguments."""
    between, settings = Between(sys.argv[1]), Settings.model_validate_json(sys.argv[2])
    arm(between)
    run = run_bridge if between.startswith("bridge") else run_webhook
    await run(settings, asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main())
