"""A real Alertmanager, and what it is told."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path

import httpx

from aviary.local import debian
from aviary.local.ports import FreePorts
from tests.contract.kafka.parts import until

CONFIG = """\
route: {receiver: aviary, group_by: [service], group_wait: 0s, group_interval: 1s}
receivers:
  - name: people
  - name: aviary
    webhook_configs:
      - url: http://127.0.0.1:%s/alertmanager
        max_alerts: %s
        http_config: {authorization: {type: Bearer, credentials: s3cret}}
"""


class Manager:
    """An Alertmanager that sends to a webhook."""

    def __init__(self, port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"

    async def fire(self, labels: Iterable[dict[str, str]]) -> None:
        started = {"startsAt": "2026-01-01T10:00:00.123456789Z"}
        alerts = [
            {"labels": each, "annotations": {"summary": "x" * 50}} | started for each in labels
        ]
        async with httpx.AsyncClient(timeout=30) as http:
            answer = await http.post(f"{self.url}/api/v2/alerts", json=alerts)
        assert answer.status_code == 200, answer.text

    async def ready(self) -> bool:
        async with httpx.AsyncClient() as http:
            try:
                return (await http.get(f"{self.url}/-/ready")).status_code == 200
            except httpx.HTTPError:
                return False


@asynccontextmanager
async def managed(folder: Path, webhook: int, max_alerts: int) -> AsyncIterator[Manager]:
    tools = await debian.install(debian.cache_folder())
    port = FreePorts().take()
    (folder / "alertmanager.yml").write_text(CONFIG % (webhook, max_alerts))
    with (folder / "alertmanager.log").open("ab") as log:
        process = subprocess.Popen(  # noqa: ASYNC220 - returns at once
            [
                str(tools.alertmanager),
                f"--config.file={folder}/alertmanager.yml",
                f"--storage.path={folder}/alertmanager",
                f"--web.listen-address=127.0.0.1:{port}",
                "--cluster.listen-address=",
            ],
            cwd=tools.root,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    manager = Manager(port)
    try:
        await until(manager.ready, "Alertmanager is ready")
        yield manager
    finally:
        process.kill()
        process.wait()
