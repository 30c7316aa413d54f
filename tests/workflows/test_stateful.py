"""A service with a real PostgreSQL: two versions with different columns, and not one row lost."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import httpx
import pytest
from temporalio.testing import WorkflowEnvironment

from adapters.deployers.process.deployer import ProcessDeployer
from adapters.hooks.run.caller import RunHook
from aviary.local.ports import FreePorts
from schemas.release import ReleasePhase
from tests.workflows.kit import Release, World, eventually
from tests.workflows.ledger import migrate
from tests.workflows.ledger.postgres import Postgres, postgres

FOLDER: Final = Path(migrate.__file__).parent
MIGRATE: Final = (sys.executable, str(FOLDER / "migrate.py"))
EACH: Final = 1.25


class Ledger:
    """The service as its users and its releases see it; every payment that was taken is counted."""

    def __init__(self, world: World, database: Postgres) -> None:
        self.world = world
        self.database = database
        self.name = world.service("ledger")
        self.taken = 0

    async def release(self, version: str, hooks: Sequence[Any] = (), **more: Any) -> Release:
        """Release a version, with these hooks."""
        recipe = {
            "kind": "process",
            "command": [sys.executable, str(FOLDER / "service.py"), "{version}", "{port}"],
            "env": dict(self.database.environment),
            "ready": {"http": "/"},
            "drain": "0s",
            "keep_old": "0s",
        }
        service = {"deploy": recipe, "hooks": list(hooks), **more}
        return await self.world.release(
            {"ledger": []},
            version=version,
            strategy={"steps": [50], "bake": "1m"},
            services={self.name: service},
        )

    async def pay(self, times: int) -> set[str]:
        """So many users pay, each where the route sends them; the versions that took it."""
        versions = set()
        async with httpx.AsyncClient(timeout=60) as http:
            for _ in range(times):
                version = self.world.router.send(self.name, f"user-{self.taken}")
                answer = await http.post(await self._address(version))
                assert answer.status_code == 200, answer.text
                self.taken += 1
                versions.add(version)
        return versions

    async def total(self, version: str) -> str:
        """How many payments there are and what they make, as a version reads it."""
        async with httpx.AsyncClient(timeout=60) as http:
            answer = await http.get(f"{await self._address(version)}total")
        assert answer.status_code == 200, answer.text
        return str(answer.json()["said"])

    @property
    def expected(self) -> str:
        return f"{self.taken} {self.taken * EACH:.2f}"

    @property
    def migrations(self) -> list[str]:
        return self.database.ask("SELECT string_agg(what, ',') FROM migrations").split(",")

    async def _address(self, version: str) -> str:
        known = (await self.world.router.endpoints(self.name))[self.name]
        return f"http://{known[version].endpoints[0]}/"


@pytest.fixture(scope="module")
def database() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture
async def ledger(
    server: WorkflowEnvironment, database: Postgres, tmp_path: Path
) -> AsyncIterator[Ledger]:
    database.ask("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    database.ask(migrate.BEGIN)
    world = World(server.client)
    first = FreePorts().take()
    async with httpx.AsyncClient() as client:
        deployer = ProcessDeployer(
            tmp_path / "state", "aviary", ports=range(first, first + 20), client=client
        )
        world.deployer = deployer  # type: ignore[assignment]
        world.hook_for = lambda call: RunHook(call.options["command"])  # type: ignore[arg-type]
        async with world.working():
            ledger = Ledger(world, database)
            one = await ledger.release("1")
            assert (await one.result()).phase is ReleasePhase.FINALIZED
            await ledger.pay(4)
            try:
                yield ledger
            finally:
                await _none_left(deployer)


async def _none_left(deployer: ProcessDeployer) -> None:
    async def unused() -> bool:
        return False

    for one in await deployer.versions():
        await deployer.take_down(one.service, one.version, one.generation, unused)


def hook(name: str, when: Any, what: str, **more: Any) -> dict[str, Any]:
    call = {"kind": "run", "command": [*MIGRATE, what]}
    return {"name": name, "when": when, "call": call, **more}


EXPAND: Final = hook("expand", "before_canary", "expand")
STATE: Final = hook("schema", ["before_canary", "after_step"], "state")
CONTRACT: Final = hook("contract", "contract", "contract", contract_after="1s")
NEEDS: Final = {"schema": ">= 42"}


async def test_a_rollback_after_expand_loses_nothing(ledger: Ledger) -> None:
    world = ledger.world
    world.judge.blocked.add((ledger.name, 50))
    release = await ledger.release("2", [EXPAND, STATE, CONTRACT], needs=NEEDS)
    await release.until(ledger="baking")
    assert await ledger.pay(16) == {"1", "2"}, "both serve, side by side"
    assert await ledger.total("1") == await ledger.total("2") == ledger.expected
    await release.alert("ledger")
    assert (await release.result()).phase is ReleasePhase.ROLLED_BACK
    assert await ledger.pay(2) == {"1"}
    assert await ledger.total("1") == ledger.expected
    assert ledger.migrations == ["expand"], "once, and nothing is contracted"


async def test_a_contract_comes_after_and_loses_nothing(ledger: Ledger) -> None:
    release = await ledger.release("2", [EXPAND, STATE, CONTRACT], needs=NEEDS)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
    assert await ledger.pay(4) == {"2"}
    async with asyncio.timeout(120):
        await eventually(lambda: ledger.migrations == ["expand", "contract"])
    await ledger.pay(2)
    assert await ledger.total("2") == ledger.expected
    with pytest.raises(RuntimeError, match='column "amount" does not exist'):
        ledger.database.ask("SELECT amount FROM payments")


async def test_without_its_schema_no_request_is_moved(ledger: Ledger) -> None:
    release = await ledger.release("2", [STATE], needs=NEEDS)
    status = await release.result()
    assert status.cause is not None
    assert status.cause.text.startswith("hook schema said no: 2 needs schema >= 42, there is 41")
    assert await ledger.pay(2) == {"1"}
    assert await ledger.total("1") == ledger.expected


async def test_what_the_old_version_can_not_read_takes_the_new_one_back(ledger: Ledger) -> None:
    careless = hook("expand", "before_canary", "careless")
    world = ledger.world
    world.judge.blocked.add((ledger.name, 50))
    release = await ledger.release("2", [careless, STATE], needs=NEEDS)
    await release.until(ledger="baking")
    assert "2" in await ledger.pay(16)
    world.judge.blocked.clear()
    status = await release.result()
    assert status.cause is not None
    assert status.cause.text.startswith(
        "hook schema said no: 1 does not work with schema 42: there would be no way back"
    )
    rows = ledger.database.ask("SELECT count(*) FROM payments")
    assert int(rows) == ledger.taken, "what it has written is still there, to be mended"
