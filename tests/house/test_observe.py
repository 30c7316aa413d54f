"""The dashboard and the alerts about Aviary: checked by promtool, and true to each other."""

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import CollectorRegistry
from prometheus_client.registry import Collector

from aviary.bridge.metrics import BridgeMetrics
from aviary.local import debian
from aviary.numbers.run import Exporter
from aviary.sentinel.metrics import SentinelMetrics
from aviary.telemetry.judging import JudgeMetrics
from aviary.telemetry.ports import WorkerMetrics
from aviary.webhook_metrics import WebhookMetrics

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"
DASHBOARD = DEPLOY / "grafana/aviary.json"
ALERTS = DEPLOY / "prometheus/aviary-alerts.yml"
RUNBOOKS = (ROOT / "docs/runbooks.md").read_text()
OBSERVE = (ROOT / "docs/how-to/observe.md").read_text()
AVIARYS = re.compile(r"\baviary_\w+")
ELSEWHERE = {
    *("aviary_info", "aviary_catalog_valid", "aviary_rollbacks_stuck", "aviary_releases_running"),
    "aviary_ready",
    "aviary_queue_polled",
    *("aviary_build_info", "aviary_build_workers", "aviary_build_workflows"),
    "aviary_abandoned_workflows",
}
"""Registered by parts that need more than a registry."""


def rules() -> list[dict[str, Any]]:
    document = yaml.safe_load(ALERTS.read_text())
    return [rule for group in document["groups"] for rule in group["rules"]]


def panels() -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(DASHBOARD.read_text())["panels"]
    return found


def queries() -> list[str]:
    return [target["expr"] for panel in panels() for target in panel.get("targets", [])]


def promtool(tools: debian.DebianTools, *words: str | Path) -> None:
    command = [str(tools.promtool), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture
async def tools() -> debian.DebianTools:
    return await debian.install(debian.cache_folder())


def test_alerts_about_aviary_fire_when_they_should(tools: debian.DebianTools) -> None:
    promtool(tools, "check", "rules", ALERTS)
    promtool(tools, "test", "rules", DEPLOY / "prometheus/aviary-alerts_test.yml")


def test_every_alert_is_tested() -> None:
    document = yaml.safe_load((DEPLOY / "prometheus/aviary-alerts_test.yml").read_text())
    cases = [case for test in document["tests"] for case in test["alert_rule_test"]]
    fires = {case["alertname"] for case in cases if case["exp_alerts"]}
    silent = {case["alertname"] for case in cases if not case["exp_alerts"]}
    assert fires == silent == {rule["alert"] for rule in rules()}


def test_every_alert_has_its_runbook_and_no_runbook_is_left_over() -> None:
    sections = re.findall(r"^## (\w+)$", RUNBOOKS, re.MULTILINE)
    assert sorted(sections) == sorted(rule["alert"] for rule in rules())
    for rule in rules():
        url = rule["annotations"]["runbook_url"]
        assert url == f"docs/runbooks.md#{rule['alert'].lower()}"
        section = RUNBOOKS.split(f"## {rule['alert']}\n")[1].split("\n## ")[0]
        assert all(word in section for word in ("**Means.**", "**Look.**", "**Do.**"))


def test_no_alert_about_aviary_takes_a_release_back() -> None:
    for rule in rules():
        assert "service" not in rule["labels"]
        assert not re.search(r"by \([^)]*\bservice\b", rule["expr"])


def test_the_dashboard_is_whole() -> None:
    drawn = [panel for panel in panels() if panel["type"] != "row"]
    assert len({panel["id"] for panel in panels()}) == len(panels())
    cells: set[tuple[int, int]] = set()
    for panel in drawn:
        assert panel["targets"], panel["title"]
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        area = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & area, f"{panel['title']} overlaps"
        cells |= area
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}


def test_every_query_can_be_read(tools: debian.DebianTools, tmp_path: Path) -> None:
    exprs = [query.replace("$__rate_interval", "1m") for query in queries()]
    group = {"name": "dashboard", "rules": [{"record": "x", "expr": expr} for expr in exprs]}
    for number, rule in enumerate(group["rules"]):
        rule["record"] = f"dashboard:{number}"  # type: ignore[index]  # a list of mappings
    (tmp_path / "rules.yml").write_text(yaml.safe_dump({"groups": [group]}))
    promtool(tools, "check", "rules", tmp_path / "rules.yml")


def names(registry: Collector) -> set[str]:
    return {sample.name for metric in registry.collect() for sample in metric.samples}


def test_dashboard_and_alerts_ask_for_metrics_that_there_are() -> None:
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    JudgeMetrics(registry)
    BridgeMetrics(registry)
    WebhookMetrics(registry)
    SentinelMetrics(registry)
    Exporter(registry).show()
    families = {metric.name for metric in registry.collect()}
    there = names(registry) | ELSEWHERE | families | {f"{one}_total" for one in families}
    there |= {f"{one}_{end}" for one in families for end in ("bucket", "count", "sum")}
    asked = {
        name
        for expr in [*queries(), *(rule["expr"] for rule in rules())]
        for name in AVIARYS.findall(expr)
    }
    assert len(asked) > 15
    assert asked - there == set()


def test_every_metric_is_described() -> None:
    registry = CollectorRegistry()
    WorkerMetrics(registry)
    JudgeMetrics(registry)
    SentinelMetrics(registry)
    Exporter(registry).show()
    for metric in registry.collect():
        assert f"`{metric.name}" in OBSERVE, metric.name
