"""`aviary pools`: what it asks for, and what it refuses before it asks anybody."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from tests.unit.cli.conftest import Run


@pytest.fixture
def envoy(tmp_path: Path) -> Path:
    """A catalog whose Envoy is not running, with one pool in its files."""
    fleet = EnvoyFleet(tmp_path / "envoy")
    fleet.bootstrap(9, 10)
    fleet.put_pool(Pool(service="ledger", version="1.0", endpoints=(("10.0.0.7", 80),)))
    path = tmp_path / "envoy.yaml"
    router = f"{{kind: envoy, directory: '{tmp_path}/envoy', admin: ['http://127.0.0.1:9']}}"
    path.write_text(f"version: 1\ndefaults: {{router: {router}}}\nservices: {{ledger: , cart: }}\n")
    return path


def test_what_is_there_is_listed(run: Run, envoy: Path) -> None:
    assert run("pools", "list", "-c", envoy).stdout == "ledger 1.0: 10.0.0.7:80\n"
    found = json.loads(run("pools", "list", "ledger", "-c", envoy, "--format", "json").stdout)
    endpoints = [{"host": "10.0.0.7", "port": 80}]
    assert found == {"pools": {"ledger": {"1.0": {"endpoints": endpoints, "generation": 0}}}}


def test_what_no_router_confirms_is_a_failure(run: Run, envoy: Path) -> None:
    result = run("pools", "put", "ledger", "1.1", "10.0.0.8:80", "-c", envoy)
    assert result.exit_code == 1
    assert "ledger 1.1: its endpoints were written but not confirmed" in result.stderr


def test_put_tells_the_router(run: Run, catalog: Path) -> None:
    result = run("pools", "put", "ledger", "1.1", "10.0.0.7:80", "[::1]:81", "-c", catalog)
    assert (result.exit_code, result.stdout) == (0, "ledger 1.1: 10.0.0.7:80, [::1]:81\n")
    result = run("pools", "drop", "ledger", "1.1", "-c", catalog)
    assert (result.exit_code, result.stdout) == (0, "ledger 1.1: gone\n")


@pytest.mark.parametrize(
    ("args", "told"),
    [
        (("put", "ledgr", "1", "a:1"), "got 'ledgr', expected a service of"),
        (("drop", "ledgr", "1"), "did you mean 'ledger'?"),
        (("put", "ledger", "1 0", "a:1"), "VERSION: got '1 0'"),
        (("put", "ledger", "1", "a"), "got 'a', expected host:port"),
        (("put", "ledger", "1", "a:99999"), "got 'a:99999', expected host:port"),
        (("put", "ledger", "1", "a b:9"), "expected host:port"),
    ],
)
def test_what_is_wrong_is_told(run: Run, catalog: Path, args: tuple[str, ...], told: str) -> None:
    result = run("pools", *args, "-c", catalog)
    assert result.exit_code == 2
    assert told in " ".join(result.stderr.split())
