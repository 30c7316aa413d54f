"""`aviary notices`: what is told to whom, where the settings are."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # Apprise's
BASE = "version: 1\ndefaults: {router: {kind: memory}, metrics: []}\nservices: {a: , b: }\n"
RULES = "notices: [{channel: oncall, services: [a], at_least: failure, kinds: [stuck]}]\n"


@pytest.fixture
def rules(tmp_path: Path) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(BASE + RULES)
    return path


def test_check_says_what_each_channel_is_told(
    run: Run, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIARY_NOTIFY_CHANNELS", "oncall = json://h/s3cret\nidle = xml://h/s3cret")
    result = run("notices", "check", "-c", rules)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "oncall: JSON: stuck, failure or worse, of a",
        "idle: XML: nothing",
    ]
    document = json.loads(run("notices", "check", "-c", rules, "--format", "json").stdout)
    assert document["unknown"] == []
    assert document["channels"]["oncall"]["addresses"] == ["JSON"]
    assert "s3cret" not in result.stdout + result.stderr


def test_check_ends_with_2_for_an_unknown_channel(run: Run, rules: Path) -> None:
    result = run("notices", "check", "-c", rules)
    assert result.exit_code == 2
    assert "oncall: not in the settings" in result.stdout
    assert "notices: got oncall, expected channels of AVIARY_NOTIFY_CHANNELS" in result.stderr


def test_without_channels_there_is_the_log(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(BASE)
    result = run("notices", "check", "-c", path)
    assert (result.exit_code, "worker's log only" in result.stdout) == (0, True)


def test_a_wrong_url_ends_with_2_and_is_not_shown(
    run: Run, rules: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AVIARY_NOTIFY_CHANNELS", "oncall = nosuch://s3cret")
    for command in (["check", "-c", rules], ["test"]):
        result = run("notices", *command)
        assert result.exit_code == 2
        assert "AVIARY_NOTIFY_CHANNELS: oncall: expected a URL" in result.stderr
        assert "s3cret" not in result.stderr


def test_a_test_that_nobody_takes_ends_with_1(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIARY_NOTIFY_CHANNELS", "oncall = json://127.0.0.1:1/s3cret")
    result = run("notices", "test", "--channel", "oncall")
    assert result.exit_code == 1
    assert result.stderr == "channel oncall: JSON did not take it (failure)\n"


def test_a_test_of_an_unknown_channel_ends_with_2(run: Run) -> None:
    result = run("notices", "test", "--channel", "nosuch")
    assert result.exit_code == 2
    assert "--channel: got nosuch, expected a channel of the settings" in result.stderr
