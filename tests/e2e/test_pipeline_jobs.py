"""A job copied from docs/how-to/pipeline.md takes a release through, with HTTP alone in reach."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from asyncio import create_subprocess_exec
from asyncio.subprocess import DEVNULL, PIPE
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import pytest_asyncio
import yaml

from aviary.api.callers_file import digest_of
from aviary.local.parts import ROOT
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.stack import Stack
from aviary.releases.failing import ExitCode
from tests.e2e.given import Release, new_versions
from tests.e2e.test_pipeline_docs import ID, block

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

TOKENS: dict[str, dict[str, Any]] = {
    "ci": {"roles": ["deploy", "read"]},
    "old": {"roles": ["deploy", "read"], "expires": "2026-01-01"},
    "search": {"roles": ["deploy", "read"], "services": ["search*"]},
}
CONFINED = """
import sys

def refused(event, arguments):
    if event == "socket.connect" and arguments[1][1] != {port}:
        raise OSError(f"out of reach: {{arguments[1]}}")
    if event == "import" and arguments[0] in {{"temporalio", "aiokafka"}}:
        raise ImportError(f"not there: {{arguments[0]}}")

sys.addaudithook(refused)
"""
"""In a process that reaches the webhook alone, and has neither Temporal's nor Kafka's client."""


@dataclass(frozen=True)
class Webhook:
    """A webhook that knows its callers."""

    url: str
    port: int

    async def knows(self, release: str) -> bool:
        """Whether there is a release of this id."""
        async with httpx.AsyncClient() as http:
            bearer = {"Authorization": "Bearer aviary_ci"}
            answer = await http.get(f"{self.url}/releases/{release}", headers=bearer)
            return answer.status_code == httpx.codes.OK


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def webhook(shop: Stack, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Webhook]:
    folder = tmp_path_factory.mktemp("webhook")
    entries = {
        name: {"sha256": digest_of(f"aviary_{name}"), **entry} for name, entry in TOKENS.items()
    }
    (folder / "callers.yaml").write_text(yaml.safe_dump({"tokens": entries}))
    port = FreePorts().take()
    env = {
        **os.environ,
        **shop.settings,
        "AVIARY_CALLERS_FILE": str(folder / "callers.yaml"),
        "AVIARY_WEBHOOK_PORT": str(port),
        "PYTHONPATH": str(ROOT),
    }
    command = [sys.executable, "-m", "aviary", "webhook"]
    process = await create_subprocess_exec(*command, env=env, stdout=DEVNULL, stderr=DEVNULL)
    found = Webhook(f"http://{LOOPBACK}:{port}", port)
    try:
        async with httpx.AsyncClient() as http, asyncio.timeout(120):
            while not await _ready(http, found.url):  # noqa: ASYNC110 - another process
                await asyncio.sleep(0.2)
        yield found
    finally:
        process.terminate()
        await process.wait()


async def _ready(http: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await http.get(f"{url}/readyz")).status_code == httpx.codes.OK
    except httpx.TransportError:
        return False


async def test_a_job_from_the_docs_is_green_with_its_release(
    shop: Stack, webhook: Webhook, tmp_path: Path
) -> None:
    job = yaml.safe_load(block("yaml", "sh deploy.sh"))["release"]
    release = await new_versions(shop, "inventory")
    version = release.versions["inventory"]
    shutil.copy(ROOT / "deploy/pipeline/deploy.sh", tmp_path)
    lines = "\n".join(job["script"]).replace(ID, release.id)
    env = {"AVIARY_SERVER": webhook.url, "AVIARY_TOKEN": "aviary_ci"}
    assert env.keys() == job["variables"].keys() | job["id_tokens"].keys()
    script = lines.replace("checkout=1.4.2", f"inventory={version}")
    code, output = await _run(tmp_path, env, "sh", "-euc", script)
    assert code == 0, output
    summary = (tmp_path / "summary.md").read_text()
    assert summary.startswith(f"## {release.id}: Finalized")
    assert f"inventory {version} has 40 %" in summary
    assert "### Numbers of the last verdicts" in summary
    assert await _confined(webhook, tmp_path, release) == ExitCode.OK, (
        "a replay is the same release"
    )


async def test_what_may_not_ask_changes_nothing(
    shop: Stack, webhook: Webhook, tmp_path: Path
) -> None:
    release = await new_versions(shop, "inventory")
    for token in ("wrong", "old", "search"):
        code = await _confined(webhook, tmp_path, release, f"aviary_{token}")
        assert code == ExitCode.FAILURE, token
    assert not await webhook.knows(release.id)


async def _confined(
    webhook: Webhook, folder: Path, release: Release, token: str = "aviary_ci"
) -> int:
    """`aviary deploy` where neither Kafka nor Temporal is in reach."""
    (folder / "sitecustomize.py").write_text(CONFINED.format(port=webhook.port))
    pairs = [f"--service={name}={version}" for name, version in release.versions.items()]
    env = {"PYTHONPATH": f"{folder}:{ROOT}", "AVIARY_SERVER": webhook.url, "AVIARY_TOKEN": token}
    asked = ("deploy", "--release", release.id, *pairs, "--timeout", "3m")
    code, output = await _run(folder, env, sys.executable, "-m", "aviary", *asked)
    assert "out of reach" not in output
    return code


async def _run(folder: Path, env: Mapping[str, str], *command: str) -> tuple[int, str]:
    """Run a command with nothing of this process' environment but where programs are."""
    process = await create_subprocess_exec(
        *command, cwd=folder, env={"PATH": os.environ["PATH"], **env}, stdout=PIPE, stderr=PIPE
    )
    output, errors = await process.communicate()
    return process.returncode or 0, (output + errors).decode()
