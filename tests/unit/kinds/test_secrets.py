"""What the bridge keeps of a release never holds a secret of its connections."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from aviary.bridge.accept import Acceptor
from aviary.bridge.metrics import BridgeMetrics, Outcome
from aviary.catalog_watch import CatalogWatch
from aviary.connections import read_connections
from aviary.settings import Settings
from tests.packages import Packages
from tests.unit.ingestion.fakes import FakeGateway, FakeWriter, Record, deploy_value

SECRET = "hush-5ecret-of-prod"
CATALOG = """\
version: 1
defaults: {router: {kind: acme, backend: web, connection: prod}}
services:
  ledger:
  checkout: {depends_on: [ledger]}
"""


async def test_plans_dead_letters_and_logs_of_the_bridge(
    tmp_path: Path, packages: Packages, capsys: pytest.CaptureFixture[str]
) -> None:
    packages.acme()
    file, path = tmp_path / "connections.yaml", tmp_path / "catalog.yaml"
    file.write_text(f"prod: {{kind: acme, url: 'http://x', token: {SECRET}}}\n")
    path.write_text(CATALOG)
    connections = read_connections(Settings(connections_file=file))
    watch = CatalogWatch(path, CollectorRegistry(), connections)
    gateway, dead_letters = FakeGateway(), FakeWriter()
    acceptor = Acceptor(
        gateway,
        dead_letters,
        watch.newest,
        BridgeMetrics(CollectorRegistry()),
        max_age_s=0,
        clock=lambda: 0.0,
    )

    async def accept(value: bytes) -> Outcome:
        [outcome] = await acceptor.accept([Record(value)])
        return outcome

    assert await accept(deploy_value()) is Outcome.STARTED
    event = json.loads(deploy_value())
    event["data"]["strategy"] = "nosuch"
    assert await accept(json.dumps(event).encode()) is Outcome.DEAD_LETTER
    # A catalog that is not valid any more is told in the log, and the old one stays.
    path.write_text(CATALOG.replace("backend: web", f"backend: 'http://u:{SECRET}@x'"))
    assert "ledger" in (await watch.newest()).services
    plan = gateway.releases["shop-1"].model_dump_json()
    assert '"connection":"prod"' in plan
    kept = "".join(f"{one.value!r}{one.headers!r}" for one in dead_letters.written)
    assert "nosuch" in kept
    written = capsys.readouterr()
    assert "(hidden)@x" in written.out + written.err
    for text in (plan, kept, written.out, written.err):
        assert SECRET not in text
