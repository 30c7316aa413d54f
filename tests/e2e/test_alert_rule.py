"""The alert rules, tried by Prometheus' own rule tester."""

from __future__ import annotations

import asyncio
import json
from asyncio.subprocess import PIPE, STDOUT
from pathlib import Path
from typing import Any

import pytest

from aviary.local import configs
from aviary.local.debian import DebianTools
from aviary.local.fronts.envoy import RULE
from aviary.local.parts import ROOT, Ports
from aviary.local.ports import FreePorts
from aviary.local.stack import FRONTS

pytestmark = [pytest.mark.e2e, pytest.mark.asyncio(loop_scope="session")]

_POOL = "payments@2~0~1"
_FIRING = {
    "exp_labels": {
        "severity": "critical",
        "service": "payments",
        "version": "2.0.1",
        "envoy_cluster_name": _POOL,
    },
    "exp_annotations": {"summary": "100% of requests to payments 2.0.1 fail"},
}


def _series(pool: str, done: str, good: str | None) -> list[dict[str, str]]:
    label = f'envoy_cluster_name="{pool}"'
    series = [{"series": f"envoy_cluster_upstream_rq_completed{{{label}}}", "values": done}]
    if good is not None:
        name = f'envoy_cluster_upstream_rq_xx{{{label},envoy_response_code_class="2"}}'
        series.append({"series": name, "values": good})
    return series


_CASES: dict[str, tuple[list[dict[str, str]], list[dict[str, Any]]]] = {
    "all requests of a version that never succeeded fail": (
        _series(_POOL, "0 0 20 40 60 80", None),
        [_FIRING],
    ),
    "all requests of a version that was good fail": (
        _series(_POOL, "0 20 40 60 80 100", "0 20 40 40 40 40"),
        [_FIRING],
    ),
    "the first good responses of a new version, whose series has just begun": (
        _series(_POOL, "0 0 0 20 40 60", "_ _ _ 20 40 60"),
        [],
    ),
    "a fifth fails: the judge's business": (
        _series(_POOL, "0 20 40 60 80 100", "0 16 32 48 64 80"),
        [],
    ),
    "too few requests to tell": (_series(_POOL, "0 1 2 3 4 5", None), []),
    "Envoy was restarted and counts from 0 again": (
        _series(_POOL, "500 520 540 560 0 20", "500 520 540 560 0 20"),
        [],
    ),
    "requests that ask for a version are not counted": (
        _series(f"{_POOL}/apart", "0 20 40 60 80 100", None),
        [],
    ),
}


@pytest.mark.parametrize("case", _CASES)
async def test_the_rule_fires_when_it_should(case: str, tmp_path: Path, tools: DebianTools) -> None:
    series, expected = _CASES[case]
    test = {"eval_time": "5s", "alertname": configs.ALERT, "exp_alerts": expected}
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1s",
        "tests": [{"interval": "1s", "input_series": series, "alert_rule_test": [test]}],
    }
    (tmp_path / "rules.yml").write_text(configs.alert_rules(RULE))
    (tmp_path / "tests.yml").write_text(json.dumps(document))
    code, said = await _promtool(tools, tmp_path, "test", "rules", "tests.yml")
    assert code == 0, said


@pytest.mark.parametrize("pool", ["payments_2.0.1@file", "payments_2.0.1~apart@file"])
async def test_the_rule_of_traefik_names_service_and_version(
    pool: str, tmp_path: Path, tools: DebianTools
) -> None:
    """Traefik has no series of a code before its first answer with it."""
    counter = "traefik_service_requests_total"
    labels = f'method="GET",protocol="http",service="{pool}"'
    series = [
        {"series": f'{counter}{{code="502",{labels}}}', "values": "_ 10 20 30 40 60"},
        {"series": f'{counter}{{code="500",{labels}}}', "values": "_ _ 10 20 40 60"},
    ]
    firing = {
        "exp_labels": {"severity": "critical", "service": "payments", "version": "2.0.1"},
        "exp_annotations": {"summary": "100% of requests to payments 2.0.1 fail"},
    }
    expected = [] if "apart" in pool else [firing]
    test = {"eval_time": "5s", "alertname": configs.ALERT, "exp_alerts": expected}
    document = {
        "rule_files": ["rules.yml"],
        "evaluation_interval": "1s",
        "tests": [{"interval": "1s", "input_series": series, "alert_rule_test": [test]}],
    }
    front = FRONTS["traefik"](tmp_path, Ports.choose(FreePorts()))
    (tmp_path / "rules.yml").write_text(front.alert_rules())
    (tmp_path / "tests.yml").write_text(json.dumps(document))
    code, said = await _promtool(tools, tmp_path, "test", "rules", "tests.yml")
    assert code == 0, said


_SHIPPED = ROOT / "deploy/prometheus/rules.yml"
_SHIPPED_CASES = {
    "the first good responses of a new version, whose series has just begun": (
        "0 0 0 20 40 60 80 100 120",
        "_ _ _ 20 40 60 80 100 120",
        [],
    ),
    "a tenth fails": (
        "0 20 40 60 80 100 120 140 160",
        "0 18 36 54 72 90 108 126 144",
        [
            {
                "exp_labels": {"severity": "critical", "service": "payments", "version": "2.0.1"},
                "exp_annotations": {"summary": "payments 2.0.1 fails 10% of its requests"},
            }
        ],
    ),
}


@pytest.mark.parametrize("case", _SHIPPED_CASES)
async def test_the_rule_shipped_for_production_fires_when_it_should(
    case: str, tmp_path: Path, tools: DebianTools
) -> None:
    done, good, expected = _SHIPPED_CASES[case]
    labels = 'service="payments",version="2.0.1"'
    series = [
        {"series": f"envoy_cluster_upstream_rq_completed{{{labels}}}", "values": done},
        {
            "series": f'envoy_cluster_upstream_rq_xx{{{labels},envoy_response_code_class="2"}}',
            "values": good,
        },
    ]
    tests = [
        {"eval_time": f"{second}s", "alertname": "VersionFails", "exp_alerts": expected}
        for second in ((6, 7, 8) if expected else range(9))
    ]
    document = {
        "rule_files": [str(_SHIPPED)],
        "evaluation_interval": "1s",
        "tests": [{"interval": "1s", "input_series": series, "alert_rule_test": tests}],
    }
    (tmp_path / "tests.yml").write_text(json.dumps(document))
    code, said = await _promtool(tools, tmp_path, "test", "rules", "tests.yml")
    assert code == 0, said


@pytest.mark.parametrize("name", FRONTS)
async def test_prometheus_accepts_its_configuration(
    name: str, tmp_path: Path, tools: DebianTools
) -> None:
    front = FRONTS[name](tmp_path, Ports.choose(FreePorts()))
    (tmp_path / "rules.yml").write_text(front.alert_rules())
    text = configs.prometheus(
        {"bridge": ["127.0.0.1:9000", "127.0.0.1:9001"]},
        front.scrape(),
        "127.0.0.1:9093",
        Path("rules.yml"),
    )
    (tmp_path / "prometheus.yml").write_text(text)
    code, said = await _promtool(tools, tmp_path, "check", "config", "prometheus.yml")
    assert code == 0, said


async def _promtool(tools: DebianTools, folder: Path, *words: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(
        str(tools.promtool), *words, cwd=folder, stdout=PIPE, stderr=STDOUT
    )
    output, _ = await process.communicate()
    return process.returncode, output.decode()
