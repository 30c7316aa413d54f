"""docs/how-to/try-your-services.md, followed literally: a service that is not in Python."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.e2e.newcomer import Newcomer

pytestmark = pytest.mark.e2e

WENT_BACK = 3


async def test_the_how_to_releases_a_service_in_perl(tmp_path: Path) -> None:
    hello = tmp_path / "hello"
    here = Newcomer(
        "how-to/try-your-services.md",
        {".aviary/hello": str(tmp_path / "stack"), "--catalog hello/": f"--catalog {hello}/"},
    )
    hello.mkdir()
    (hello / "hello.pl").write_text(here.block("accept", language="perl"))
    (hello / "catalog.yaml").write_text(here.block("hello.pl", language="yaml"))
    async with here.stack():
        *settings, ask = here.block("curl").splitlines()
        if shutil.which("curl"):
            assert await here.run(*settings, ask.replace("curl", "curl -s")) == (
                0,
                "hello from 1.0.0\n",
            )
        code, output = await here.run(*settings, here.block("release start first"))
        assert code == 0, output
        assert "hello 2.0.0" in output
        code, output = await here.run(*settings, here.block("release start second"))
        assert code == WENT_BACK, output
        explain = "python -m aviary release explain second"
        assert f"`{explain}`" in here.page
        code, output = await here.run(*settings, explain)
        assert code == 0, output
        assert "hello 3.0.0" in output
