"""A notice: one thing that a person should know."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum

from schemas.base import Model


class NoticeKind(StrEnum):
    """Why a person is told."""

    STARTED = "started"
    WAITING = "waiting"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    STUCK = "stuck"
    FINISHED = "finished"
    DRIFT = "drift"
    """Traffic on a canary that nobody looked after; it is being taken back."""


class Notice(Model):
    """One notice about a release or one of its services."""

    kind: NoticeKind
    release: str
    service: str | None = None
    text: str
    at: datetime
