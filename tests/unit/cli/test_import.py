"""`aviary import` as people call it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from aviary.cli.failing import ExitCode
from tests.unit.cli.conftest import Run
from tests.unit.moving.imports import FOLDER

PLAIN = FOLDER / "argo/01-plain-steps.yaml"
ODD = FOLDER / "argo/09-not-understood.yaml"
CANARY = FOLDER / "flagger/01-istio.yaml"


def test_the_catalog_goes_to_stdout_and_the_table_to_stderr(run: Run, tmp_path: Path) -> None:
    result = run("import", str(PLAIN), str(CANARY))
    assert result.exit_code == 0
    catalog = tmp_path / "catalog.yaml"
    catalog.write_text(result.stdout)
    checked = run("validate", str(catalog))
    assert checked.exit_code == 0, checked.output
    assert "valid, 2 services" in checked.stdout
    assert f"{PLAIN}:22: spec.strategy.canary.steps[1].pause" in result.stderr
    assert result.stderr.splitlines()[-1].startswith("2 services; ")


def test_it_is_written_to_a_file(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "catalog.yaml"
    result = run("import", str(PLAIN), "-o", str(target))
    assert (result.exit_code, result.stdout) == (0, "")
    assert run("validate", str(target)).exit_code == 0


def test_stdin_is_read(run: Run) -> None:
    result = run("import", "-", text=PLAIN.read_text())
    assert result.exit_code == 0
    assert "storefront:" in result.stdout
    assert "stdin:22: " in result.stderr


def test_as_json(run: Run) -> None:
    result = run("import", str(ODD), "--format", "json")
    assert result.exit_code == ExitCode.BAD_INPUT
    told = json.loads(result.stdout)
    assert told["services"] == ["recommend"]
    assert "recommend:" in told["catalog"]
    assert told["counts"]["refused"] == 4
    refused = [row for row in told["rows"] if row["became"] == "refused"]
    assert refused[0]["file"] == str(ODD)
    assert refused[0]["line"] == 31
    assert "`result[0] < result[1] * 1.1` is not understood" in refused[0]["text"]


def test_what_is_not_understood_is_quoted_and_fails(run: Run) -> None:
    result = run("import", str(ODD))
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "`result[0] < result[1] * 1.1` is not understood" in result.stderr
    assert "relative" not in [
        line.split("name: ")[-1] for line in result.stdout.splitlines() if "#" not in line
    ]


def test_only_one_tool(run: Run) -> None:
    result = run("import", str(PLAIN), str(CANARY), "--from", "flagger")
    assert "podinfo:" in result.stdout
    assert "storefront:" not in result.stdout
    assert "1 manifest of `argoproj.io/Rollout`: not read" in result.stderr


def test_a_router_of_ones_own(run: Run) -> None:
    router = "{kind: envoy, directory: /var/lib/envoy, admin: ['http://127.0.0.1:9901']}"
    result = run("import", str(PLAIN), "--router", router)
    assert result.exit_code == 0
    assert "kind: envoy" in result.stdout
    assert "TODO" not in result.stdout


@pytest.mark.parametrize("router", ["[", "envoy", "{kind: nope}", "{kind: envoy}"])
def test_a_router_that_is_none_writes_nothing(run: Run, tmp_path: Path, router: str) -> None:
    target = tmp_path / "catalog.yaml"
    result = run("import", str(PLAIN), "--router", router, "-o", str(target))
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "router" in result.stderr
    assert not target.exists()


def test_without_a_service_nothing_is_written(run: Run, tmp_path: Path) -> None:
    target = tmp_path / "catalog.yaml"
    result = run("import", str(FOLDER / "argo/10-falling-weights.yaml"), "-o", str(target))
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "falling weights" in result.stderr
    assert "nothing was written" in result.stderr
    assert not target.exists()


@pytest.mark.parametrize("name", ["nowhere.yaml", "."])
def test_a_file_that_can_not_be_read(run: Run, name: str) -> None:
    result = run("import", name)
    assert result.exit_code == ExitCode.BAD_INPUT
    assert f"{name}: expected a readable file" in result.stderr


def test_a_service_that_is_there_twice_is_one(run: Run) -> None:
    result = run("import", str(PLAIN), str(PLAIN.parent / "../argo/01-plain-steps.yaml"))
    assert result.exit_code == ExitCode.BAD_INPUT
    assert "a second service `storefront`, the first is in" in result.stderr


def test_no_address_of_a_channel_is_told(run: Run) -> None:
    result = run("import", str(FOLDER / "flagger/05-gates-and-alerts.yaml"))
    assert "s3cr3t" not in result.output
