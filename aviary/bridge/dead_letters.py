"""Keeps what can't be acted upon on `aviary.deadletters`, smaller where that topic wants it so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import structlog

from adapters.dead_letters import dead_letter
from adapters.errors import Retryable, Terminal
from adapters.kafka import DEADLETTER_MAX_BYTES, Writer
from aviary.bridge.batch import name
from aviary.bridge.metrics import BridgeMetrics
from schemas.rejection import Rejected

_log = structlog.get_logger("aviary.bridge")

_SMALLER: Final = (900_000, 64_000, 8_000)
"""Sizes that are tried, one after the other, where the topic refuses a message without a word of
what it would take."""

Refused = tuple[Any, Rejected]


class DeadLetters:
    """Writes dead letters, whole or cut; none is ever too large to be written."""

    def __init__(
        self, writer: Writer, metrics: BridgeMetrics, most: int = DEADLETTER_MAX_BYTES
    ) -> None:
        """Write through a sender; messages of more than `most` bytes are cut."""
        self._writer = writer
        self._metrics = metrics
        self._asked = min(most, DEADLETTER_MAX_BYTES)
        self._most = self._asked

    async def keep(self, refused: Sequence[Refused]) -> None:
        """Write a dead letter for each record; returns once all are durable.

        Raises:
            Retryable: some may not be durable; keeping all of them again is right.
        """
        if not refused:
            return
        await self._write(refused)
        for record, why in refused:
            self._metrics.dead_letter(record.topic, why.reason)
            _log.warning("dead_letter", record=name(record), reason=why.reason, error=why.text)

    async def _write(self, refused: Sequence[Refused]) -> None:
        refusal: Terminal | None = None
        for most in (self._most, *(size for size in _SMALLER if size < self._most)):
            # Remembered, so that it holds when Kafka is away in between: after a refusal an
            # idempotent producer is out of step, and has to be replaced.
            self._most = most
            try:
                await self._writer.send(
                    [dead_letter(record, why.reason, why.text, most) for record, why in refused]
                )
            except Terminal as error:
                refusal = error
                _log.error("dead_letter_refused", bytes=most, error=str(error))
            else:
                return
        # Not even a few words of it: somebody must mend the topic, and until then it is not lost.
        self._most = self._asked
        raise Retryable(f"aviary.deadletters takes nothing: {refusal}")
