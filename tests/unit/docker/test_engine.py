"""What is asked of a daemon's lists: nothing that it lists besides is taken for ours."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from aiohttp import web

from adapters.deployers.docker.connection import DockerConnection
from adapters.deployers.docker.engine import Engine
from adapters.deployers.docker.labels import FENCE_KIND, MANAGED, OWNER, SERVICE, matching

MINE: Final = {OWNER: "prod", MANAGED: FENCE_KIND, SERVICE: "cart"}
OTHERS: Final[tuple[dict[str, str] | None, ...]] = (
    {**MINE, SERVICE: "ledger"},
    {**MINE, OWNER: "test"},
    {name: value for name, value in MINE.items() if name != MANAGED},
    {},
    None,
)


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    """Of a daemon that lists all that it has, whatever it is asked for."""
    things: list[dict[str, Any]] = [
        {"Name": f"n{number}", "Id": f"{number}", "Labels": labels}
        for number, labels in enumerate((MINE, *OTHERS))
    ]

    async def answer(request: web.Request) -> web.Response:
        if request.path.endswith("/version"):
            return web.json_response({"ApiVersion": "1.41"})
        return web.json_response(
            {"Volumes": things} if request.path.endswith("/volumes") else things
        )

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    runner = web.AppRunner(application)
    await runner.setup()
    folder = Path(tempfile.mkdtemp(prefix="engine-"))
    await web.UnixSite(runner, str(folder / "sock")).start()
    made = Engine(DockerConnection(host=f"unix://{folder / 'sock'}"))
    yield made
    await made.aclose()
    await runner.cleanup()
    shutil.rmtree(folder)


def names(found: Sequence[Any]) -> list[str]:
    return [one["Name"] for one in found]


async def test_what_a_daemon_lists_besides_is_left_out(engine: Engine) -> None:
    wanted = matching("prod", "cart", kind=FENCE_KIND)
    assert names(await engine.volumes(wanted)) == ["n0"]
    assert names(await engine.containers(wanted)) == ["n0"]
    assert len(await engine.containers()) == 1 + len(OTHERS)
    assert names(await engine.volumes(matching("prod"))) == ["n0", "n1"]
