"""People are told, and nothing waits for that; what their channels are made of is in no history."""

from __future__ import annotations

from typing import cast

import pytest
from temporalio.testing import WorkflowEnvironment

from adapters.errors import Retryable
from adapters.memory import MemoryNotifier
from aviary.channels import make_notifier
from aviary.settings import load_settings
from schemas.catalog_file import parse_catalog
from schemas.event_kinds import NoticeKind
from schemas.ids import SIGNAL_APPROVE, SIGNAL_PAUSE, SIGNAL_RESUME, SIGNAL_ROLLBACK
from schemas.release import ReleasePhase
from tests.contract.notifiers.receivers import HttpReceiver, listening
from tests.contract.notifiers.subjects import SECRET
from tests.workflows.kit import World, eventually

HOLD = {"steps": [50], "soak": "1h"}
CATALOG = parse_catalog("version: 1\ndefaults: {router: {kind: memory}}\nservices: {a: }\n")


async def test_a_rollback_waits_for_no_notice(world: World) -> None:
    release = await world.release({"a": [], "b": ["a"]}, strategy=HOLD)
    await release.until(a="holding", b="holding")
    world.notifier.failure = Retryable("channel oncall: away")
    await release.handle.signal(SIGNAL_ROLLBACK)
    await release.until(a="rolled_back", b="rolled_back")
    assert (await release.status()).phase is ReleasePhase.ROLLED_BACK
    world.notifier.failure = None
    await release.result()
    assert NoticeKind.ROLLED_BACK in {notice.kind for notice in world.notifier.notices}


@pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # Apprise's
async def test_no_history_holds_where_a_channel_leads(server: WorkflowEnvironment) -> None:
    receiver = HttpReceiver()
    receiver.status, receiver.answer = 500, f"not from {SECRET}".encode()
    world = World(server.client)
    async with listening(receiver.handle) as port:
        url = f"json://user:{SECRET}@127.0.0.1:{port}/{SECRET}?-k={SECRET}"
        settings = load_settings(notify_channels=f"oncall = {url}")
        world.notifier = cast("MemoryNotifier", make_notifier(settings, lambda: CATALOG))
        async with world.working():
            release = await world.release({"a": []}, strategy=HOLD)
            await eventually(lambda: receiver.requests)
            described = (await release.handle.describe()).raw_description.pending_activities
            receiver.status = 200
            await release.handle.signal(SIGNAL_ROLLBACK)
            await release.result()
            history = (await release.handle.fetch_history()).to_json()
    assert any(SECRET in path for path, _ in receiver.requests)
    assert "aviary.notify" in history
    assert SECRET not in history + str(described)


async def test_a_notice_of_a_wait_carries_the_command_that_ends_it(world: World) -> None:
    gated = {"steps": [{"weight": 50, "gate": {"text": "seen?"}}], "bake": "0s"}
    release = await world.release({"a": []}, strategy=gated)
    status = await release.until(a="gated")
    service = world.service("a")

    def told(word: str) -> list[str]:
        line = f"aviary release {word} {status.release} --service {service}"
        return [one.text for one in world.notifier.notices if line in one.text]

    await eventually(lambda: told("approve"))
    assert f"aviary release rollback {status.release}" in told("approve")[0]
    await release.handle.execute_update(SIGNAL_PAUSE)
    await eventually(lambda: told("resume"))
    await release.handle.execute_update(SIGNAL_RESUME)
    await release.handle.execute_update(SIGNAL_APPROVE)
    assert (await release.result()).phase is ReleasePhase.FINALIZED
