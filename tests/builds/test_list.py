"""`aviary builds list`, as a person types it."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

import pytest

from tests.builds.kit import GATED, ROOT, Builds
from tests.workflows.kit import eventually

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def test_lists_who_works_and_what_runs_on_each_build(builds: Builds) -> None:
    builds.start("a")
    await builds.until_current("a")
    release = await builds.world.release({"x": []}, strategy=GATED)
    await release.until(x="gated")
    expected = {"build": "a", "state": "current", "percentage": 100, "workers": 1, "workflows": 2}

    async def listed() -> bool:  # lists are a moment behind
        return bool(await _listed(builds) == [expected])

    await eventually(listed)


async def _listed(builds: Builds) -> Any:
    command = (sys.executable, "-m", "aviary", "builds", "list", "--format", "json")
    environment = {
        "AVIARY_TEMPORAL_ADDRESS": builds.client.service_client.config.target_host,
        "AVIARY_TASK_QUEUE": builds.name,
    }
    listing = await asyncio.create_subprocess_exec(
        *command, cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    printed, _ = await listing.communicate()
    assert listing.returncode == 0
    return json.loads(printed)["builds"]
