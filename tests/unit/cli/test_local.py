"""What `aviary local` says before it starts anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from aviary.cli.failing import ExitCode
from tests.unit.cli.conftest import Run


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--router", "apache"), "--router apache: expected one of envoy, haproxy, nginx"),
        (
            ("--deployer", "podman"),
            "--deployer podman: expected docker or kubernetes, without --router",
        ),
        (
            ("--deployer", "docker", "--router", "nginx"),
            "--deployer docker: expected docker or kubernetes, without --router",
        ),
        (("--flags", "--router", "nginx"), "--flags: expected without --router and --deployer"),
    ],
)
def test_what_there_is_not_is_refused(
    run: Run, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    done = run("local", "demo", "--folder", tmp_path, *options)
    assert done.exit_code == ExitCode.BAD_INPUT
    assert said in done.output
    assert not list(tmp_path.iterdir())


def test_where_there_can_be_no_docker_it_says_why(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aviary.local.docker.os.geteuid", lambda: 1000)
    done = run("local", "demo", "--folder", tmp_path, "--deployer", "docker")
    assert done.exit_code == ExitCode.FAILURE
    assert "a Docker daemon needs root, and this is not root" in done.output


def test_connections_are_those_of_a_catalog(run: Run, tmp_path: Path) -> None:
    done = run("local", "up", "--folder", tmp_path, "--connections", tmp_path / "none.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--connections: expected with --catalog alone" in done.stderr
    catalog = ("--catalog", tmp_path / "catalog.yaml")
    done = run("local", "up", "--folder", tmp_path, *catalog, "--connections", tmp_path / "none")
    assert (done.exit_code, done.stdout) == (2, "")
    assert f"--connections: '{tmp_path / 'none'}': expected" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_up_names_the_engines_that_there_are(run: Run, tmp_path: Path) -> None:
    done = run("local", "up", "--folder", tmp_path, "--engine", "cassandra")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "--engine cassandra: expected one of development, cluster" in done.stderr
    assert list(tmp_path.iterdir()) == []
