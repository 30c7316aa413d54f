"""Whatever becomes of the question whose doing an alert is, the alert does something."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from temporalio import workflow

from schemas.alert import Alert, AlertStatus
from schemas.alert_policy import AlertAction
from schemas.deploy import DeployRequested
from tests.catalogs import make
from workflows.alerts import Decision
from workflows.blaming import BlameEvents, Blaming
from workflows.calls import Calls
from workflows.decisions import Decisions
from workflows.planning import plan_release

ALERT = Alert(
    status=AlertStatus.FIRING,
    fingerprint="1",
    labels={"alertname": "Errors", "service": "web"},
    starts_at=datetime(2026, 1, 2, tzinfo=UTC),
)
BACK = Decision(AlertAction.ROLLBACK, "alert Errors fired on web", blamable=True)


class Paused:
    """The part of `Decisions` that is used."""

    def __init__(self) -> None:
        self.text: str | None = None

    def now(self) -> Any:
        return type("State", (), {"pause": self.text, "cause": None})

    def pause(self, why: str | None) -> None:
        self.text = why


class Broken:
    """Calls that can't even be begun."""

    def start(self, *_: Any, **__: Any) -> Any:
        raise RuntimeError("a bug")


async def test_where_asking_breaks_the_alert_does_what_it_does_without_and_nothing_waits(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A bug in it would otherwise end a task that nobody looks at, and the alert with it."""
    monkeypatch.setattr(workflow.logger, "log_during_replay", True)  # there is no workflow
    plan = plan_of("web")
    did: asyncio.Queue[Decision] = asyncio.Queue()
    none: Any = None
    events = BlameEvents(lambda _, decided: did.put_nowait(decided), none, none, none)
    blaming = Blaming("r", plan, cast("Calls", Broken()), cast("Decisions", Paused()), events, None)
    assert blaming.take(ALERT, BACK)
    async with asyncio.timeout(60):
        assert await did.get() == BACK
    assert not blaming.asking, "a canary whose history is long goes on in another run"


def plan_of(service: str) -> Any:
    """A service that calls another one, as a release has it."""
    catalog = make(
        {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "metrics": []},
            "services": {"web": {"depends_on": ["ledger"]}, "ledger": {}},
        }
    )
    deploy = DeployRequested.model_validate(
        {"release": "r", "services": [{"service": service, "version": "2"}]}
    )
    return plan_release(catalog, deploy).services[service]
