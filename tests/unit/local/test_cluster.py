"""The engine `cluster`: where it is, what it says beforehand, and why it can't be had."""

from __future__ import annotations

import json
import re
import shutil
import stat
from pathlib import Path

import pytest
import yaml

from aviary.local import cluster, databases, engines, parts
from aviary.local.cluster import Cluster
from aviary.local.databases import Postgres, PostgresError
from aviary.local.engines import EngineError
from aviary.local.kafka import nodes as kafka_nodes
from aviary.local.kafka import programs as kafka_programs
from aviary.local.ports import FreePorts
from aviary.local.temporal import nodes as temporal_nodes
from aviary.local.temporal import programs as temporal_programs
from aviary.local.temporal.nodes import NodePorts
from aviary.local.temporal.programs import TemporalTools
from aviary.settings import Settings


def _cluster(folder: Path) -> Cluster:
    free = FreePorts()
    return Cluster(folder, parts.Ports.choose(free), free, folder / "cache")


def test_every_part_has_a_name_and_an_address_of_its_own(tmp_path: Path) -> None:
    made = _cluster(tmp_path)
    specs = made.services({})
    assert [spec.name for spec in specs] == [
        *("worker", "bridge", "webhook"),
        *("worker-2", "bridge-2", "webhook-2"),
    ]
    ports = [spec.env["AVIARY_METRICS_PORT"] for spec in specs]
    assert len(set(ports)) == len(ports)
    webhooks = {
        spec.env["AVIARY_WEBHOOK_PORT"] for spec in specs if spec.name.startswith("webhook")
    }
    assert len(webhooks) == cluster.COPIES
    assert made.addresses["webhook_metrics"].split(":")[2].split("/")[0] in webhooks
    assert len(made.addresses["kafka"].split(",")) == 3
    assert len(set(made.addresses.values())) == len(made.addresses)


def test_prometheus_is_told_where_each_process_is(tmp_path: Path) -> None:
    made = _cluster(tmp_path)
    jobs = made.jobs()
    assert set(jobs) == set(engines.SERVICES)
    for name, found in jobs.items():
        told = {
            f"127.0.0.1:{spec.env['AVIARY_METRICS_PORT']}"
            for spec in made.services({})
            if spec.name.partition("-")[0] == name
        }
        assert set(found) == told, name


def test_its_settings_are_settings(tmp_path: Path) -> None:
    told = {
        name.removeprefix("AVIARY_").lower(): v for name, v in _cluster(tmp_path).settings.items()
    }
    settings = Settings.model_validate(told)
    assert (settings.topic_replication, settings.kafka_idempotent) == (3, True)


async def test_it_says_beforehand_how_long_the_first_time_takes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    monkeypatch.setattr(temporal_programs, "to_build", lambda _: 4)
    monkeypatch.setattr(kafka_programs, "to_fetch", lambda _: 1)
    monkeypatch.setattr(databases, "to_fetch", lambda: 1)
    monkeypatch.setattr(shutil, "which", lambda _: None)
    with pytest.raises(EngineError, match=r"Apache Kafka .*: not installed: java, mvn"):
        await _cluster(tmp_path).install(said.append)
    assert said == ["the first start of this engine takes about 6 minutes more, once"]


async def test_it_is_installed_before_it_is_started(tmp_path: Path) -> None:
    async def start(_: object) -> None:
        raise AssertionError("nothing is there to be started")

    with pytest.raises(ExceptionGroup) as raised:
        await _cluster(tmp_path).start(start)
    assert raised.group_contains(EngineError, match="expected to be installed")


def test_kafka_is_the_version_that_is_named() -> None:
    pom = (Path(kafka_programs.__file__).parent / "build/pom.xml").read_text()
    found = re.findall(r"<artifactId>kafka_\S+</artifactId>\s*<version>(\S+)</version>", pom)
    assert found == [kafka_programs.VERSION]


def test_a_failed_fetch_leaves_nothing_and_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("java", "mvn"):
        (tools / name).write_text("#!/bin/sh\necho no such host\nexit 1\n")
        (tools / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tools), prepend=":")
    with pytest.raises(kafka_programs.KafkaFetchError, match="mvn failed: no such host"):
        kafka_programs.install(tmp_path / "cache", said.append)
    assert said == [f"fetching Apache Kafka {kafka_programs.VERSION}, once: about 1 minute"]
    assert kafka_programs.to_fetch(tmp_path / "cache") == kafka_programs.MINUTES


def test_a_node_of_kafka_has_a_folder_and_an_id_of_its_own(tmp_path: Path) -> None:
    jars = tmp_path / "jars"
    (jars / "format").mkdir(parents=True)
    (jars / "format/bootstrap.checkpoint").write_bytes(b"beginning")
    files = [kafka_nodes.prepare(tmp_path / str(n), jars, n, {"listeners": "x"}) for n in (1, 2)]
    metas = [(file.parent / "data/meta.properties").read_text() for file in files]
    assert "node.id=1\n" in metas[0]
    assert "node.id=2\n" in metas[1]
    directories = {re.findall(r"directory\.id=(\S+)", meta)[0] for meta in metas}
    assert len(directories) == 2
    assert "listeners=x\n" in files[0].read_text()
    assert "-Xmx256m" in kafka_nodes.command(jars, files[0])


def test_a_node_of_temporal_is_on_loopback_and_shares_the_database(tmp_path: Path) -> None:
    free = FreePorts()
    ports = [NodePorts.choose(free) for _ in range(2)]
    tools = TemporalTools(tmp_path / "tools")
    for name, own in zip(("one", "two"), ports, strict=True):
        temporal_nodes.spec(name, tools, tmp_path / name, own, 5432)
    told = [
        yaml.safe_load((tmp_path / name / "server.yaml").read_text()) for name in ("one", "two")
    ]
    assert told[0]["persistence"] == told[1]["persistence"]
    assert told[0]["persistence"]["numHistoryShards"] == temporal_nodes.SHARDS
    used = [
        rpc[kind]
        for one in told
        for rpc in (role["rpc"] for role in one["services"].values())
        for kind in ("grpcPort", "membershipPort")
    ]
    assert len(set(used)) == 16
    hosts = re.findall(r"\d+\.\d+\.\d+\.\d+", json.dumps(told))
    assert set(hosts) == {"127.0.0.1"}


async def test_a_database_that_nobody_but_root_could_reach_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    locked = tmp_path / "home"
    locked.mkdir(mode=0o700)
    assert not locked.stat().st_mode & stat.S_IXOTH
    with pytest.raises(PostgresError, match=r"nobody else may enter /\S+; expected"):
        await Postgres(tmp_path, locked / "postgres", 5432).make()
    assert list(locked.iterdir()) == []
