"""What docs/how-to/pipeline.md tells a pipeline to do, done."""

from __future__ import annotations

import os
import re
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import PIPE
from pathlib import Path

import pytest

from aviary.local.parts import ROOT
from aviary.local.stack import Stack
from tests.e2e.given import new_versions

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

PAGE = (ROOT / "docs/how-to/pipeline.md").read_text()
ID = "shop-$CI_PIPELINE_ID"
VERSION = "<version>"
SERVICE = f"inventory={VERSION}"


def block(language: str, word: str) -> str:
    blocks = re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return str(found)


async def test_the_pipelines_script_asks_and_waits_for_the_end(shop: Stack, tmp_path: Path) -> None:
    (tmp_path / "deploy.py").write_text(block("python", "AIOKafkaProducer"))
    asked = block("sh", "python deploy.py").replace("kafka:9092", shop.addresses["kafka"])
    await _asks_and_waits(shop, tmp_path, asked.replace("checkout=1.4.2 ledger=3.0.1", SERVICE))


async def test_a_pipeline_without_kafka_asks_over_http(shop: Stack, tmp_path: Path) -> None:
    asked = block("sh", "curl").replace('"service": "checkout"', '"service": "inventory"')
    await _asks_and_waits(shop, tmp_path, asked.replace("1.4.2", VERSION))


async def _asks_and_waits(shop: Stack, folder: Path, asked: str) -> None:
    release = await new_versions(shop, "inventory")
    asked = asked.replace(VERSION, release.versions["inventory"])
    script = f"set -eu\n{asked}{block('sh', 'aviary release watch')}"
    process = await create_subprocess_exec(
        "sh", "-c", script.replace(ID, release.id),
        cwd=folder,
        env={
            **os.environ,
            **shop.settings,
            "DEPLOY_EVENTS": shop.addresses["deploy_events"],
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
        },
        stdout=PIPE,
        stderr=PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert process.returncode == 0, (errors + output).decode()
    version = release.versions["inventory"]
    assert f"inventory {version}" in output.decode() or "finalized" in output.decode()
