"""docker-compose.yml, read by a compose implementation and held against its published schema."""

import json
import os
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from aviary.local.unpacked import unpacked
from aviary.settings import Settings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
BIN = Path(sys.executable).parent
SECRETS = {"AVIARY_WEBHOOK_TOKEN": "a-token", "TEMPORAL_DB_PASSWORD": "a-password"}


@pytest.fixture(scope="module")
def podman(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a `podman` that only knows its version: reading a file must need no engine."""
    program = tmp_path_factory.mktemp("bin") / "podman"
    program.write_text('#!/bin/sh\n[ "$1" = --version ] && echo "podman version 5.0.0"\n')
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    return program.parent


def read_compose(podman: Path, secrets: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Have podman-compose read the file: merges, variables and all."""
    kept = {key: value for key, value in os.environ.items() if key not in SECRETS}
    return subprocess.run(
        [str(BIN / "podman-compose"), "--file", str(COMPOSE), "config"],
        env={**kept, **secrets, "PATH": f"{podman}:{os.environ['PATH']}"},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture(scope="module")
def services(podman: Path) -> dict[str, Any]:
    """The services as compose understands them."""
    done = read_compose(podman, SECRETS)
    assert done.returncode == 0, done.stderr
    return dict(yaml.safe_load(done.stdout)["services"])


def test_fits_the_compose_specification() -> None:
    command = [str(BIN / "check-jsonschema"), "--builtin-schema", "vendor.compose-spec"]
    done = subprocess.run([*command, str(COMPOSE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_does_not_start_without_a_secret(podman: Path, missing: str) -> None:
    done = read_compose(podman, {k: v for k, v in SECRETS.items() if k != missing})
    assert done.returncode != 0
    assert f"set {missing}" in done.stderr


def test_images_are_pinned(services: dict[str, Any]) -> None:
    for name, service in services.items():
        assert re.search(r":v?\d+\.\d+(\.\d+)?(-\w+)?$", service["image"]), name


def test_what_runs_on_is_watched_and_restarted(services: dict[str, Any]) -> None:
    image_has_its_own = {"aviary-worker", "aviary-bridge", "aviary-sentinel", "aviary-exporter"}
    without_state_or_traffic = {"temporal-ui"}
    for name, service in services.items():
        if service["restart"].startswith("on-failure"):
            continue
        assert service["restart"] == "unless-stopped", name
        watched = "healthcheck" in service or name in image_has_its_own | without_state_or_traffic
        assert watched, name


def test_what_must_last_is_on_a_volume(services: dict[str, Any]) -> None:
    mounts = {(name, mount) for name, service in services.items() for mount in mounted(service)}
    assert {
        ("postgres", "postgres:/var/lib/postgresql/data"),
        ("kafka", "kafka:/var/lib/kafka/data"),
        ("prometheus", "prometheus:/prometheus"),
        ("alertmanager", "alertmanager:/alertmanager"),
        ("aviary-worker", "envoy:/var/lib/aviary/envoy"),
        ("aviary-sentinel", "envoy:/var/lib/aviary/envoy"),
        ("envoy", "envoy:/var/lib/aviary/envoy:ro"),
    } <= mounts


def mounted(service: dict[str, Any]) -> list[str]:
    """A service's mounts as they are written."""
    return [str(mount) for mount in service.get("volumes", [])]


def test_mounted_files_are_in_the_repository(services: dict[str, Any]) -> None:
    sources = [mount.split(":")[0] for service in services.values() for mount in mounted(service)]
    files = [source for source in sources if source.startswith("./")]
    assert files
    assert [source for source in files if not (ROOT / source).exists()] == []


def test_settings_given_are_settings_there_are(services: dict[str, Any]) -> None:
    known = {f"AVIARY_{field.upper()}" for field in Settings.model_fields}
    given = {
        key
        for service in services.values()
        for key in service.get("environment", {})
        if key.startswith("AVIARY_")
    }
    assert given
    assert given <= known


def test_only_envoy_listens_beyond_this_host(services: dict[str, Any]) -> None:
    outside = [
        name
        for name, service in services.items()
        for port in service.get("ports", [])
        if not str(port).startswith("127.0.0.1:")
    ]
    assert outside == ["envoy"]


def read_by_docker(secrets: dict[str, str]) -> subprocess.CompletedProcess[str]:
    """Have `docker compose` itself read the file, which needs no daemon."""
    root = unpacked("docker-compose", "docker-compose", suite="trixie")
    program = root / "usr/libexec/docker/cli-plugins/docker-compose"
    kept = {name: value for name, value in os.environ.items() if name not in SECRETS}
    return subprocess.run(
        [str(program), "--file", str(COMPOSE), "config", "--format", "json"],
        env=kept | secrets,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize("missing", sorted(SECRETS))
def test_docker_does_not_begin_without_a_secret(missing: str) -> None:
    done = read_by_docker({name: value for name, value in SECRETS.items() if name != missing})
    assert done.returncode != 0
    assert f"set {missing}" in done.stderr


def test_docker_waits_for_what_says_when_it_is_well() -> None:
    done = read_by_docker(SECRETS)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)["services"]
    waited = {
        (name, on["condition"])
        for service in found.values()
        for name, on in service.get("depends_on", {}).items()
    }
    conditions = {condition for _, condition in waited}
    assert conditions == {"service_healthy", "service_completed_successfully"}
    healthy = [name for name, condition in waited if condition == "service_healthy"]
    assert [name for name in healthy if "healthcheck" not in found[name]] == []
