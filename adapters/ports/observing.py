"""Ports of what is looked at: metrics, and alerts that fire."""

from __future__ import annotations

from collections.abc import Container, Sequence
from datetime import datetime
from typing import Protocol

from schemas.alert import Alert
from schemas.reading import Series


class MetricsSource(Protocol):
    """Answers instant queries in PromQL."""

    async def query(self, promql: str, at: datetime) -> Sequence[Series]:
        """Every series of the answer as of `at`; empty when there is no data.

        A source that may lack a part of the data answers a `schemas.reading.Answer`, which says so.

        Raises:
            Terminal: the query itself is wrong; `WrongQuery`, where that is known.
            Retryable: the source could not be reached or answered with an error of its own;
                `Unanswered`, where kinds are told apart.
        """


class AlertSource(Protocol):
    """Knows which alerts fire now (asked before a canary starts, and after a loss of alerts)."""

    async def firing(
        self, receiver: str | None = None, kept: Container[str] = ()
    ) -> Sequence[Alert]:
        """All alerts that fire now, silenced and inhibited ones left out.

        Args:
            receiver: only those that the source sends to this receiver.
            kept: labels that decide, which are left out last from a label set too large.

        Raises:
            Terminal: the source has no such receiver, or refused the question.
            Retryable: no answer, or none that can be read.
        """
