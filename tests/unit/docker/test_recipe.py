from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.deployers.docker import DOCKER
from adapters.deployers.docker import labels as marks
from adapters.deployers.docker.body import body_of, hider_of, recipe_of, run_body
from adapters.deployers.docker.connection import DockerConnection
from adapters.deployers.docker.engine import _demultiplexed
from adapters.deployers.docker.looking import look
from adapters.deployers.docker.options import DockerOptions
from adapters.deployers.docker.ports import HostPorts
from adapters.deployers.docker.ssh import command
from adapters.deployers.docker.troubles import TroubledError, of_pull, of_start
from adapters.errors import Retryable, Terminal
from aviary.catalogs import make_catalog
from schemas.deployment import InstanceState, Trouble, WantedVersion

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def wanted(recipe: dict[str, Any], **more: Any) -> WantedVersion:
    said = {"service": "checkout", "version": "1.4.2", "release": "r1", "generation": 3, **more}
    return WantedVersion.model_validate({**said, "recipe": recipe})


def test_secrets_are_in_the_container_and_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "db").write_text("hunter22\n")
    connection = DockerConnection(secrets_directory=tmp_path)
    order = wanted(
        {"image": "a:{version}", "port": 80, "secret_env": {"DB": "db"}, "secret_files": ["db"]}
    )
    recipe = recipe_of(order, connection)
    body = body_of(recipe, "prod", 1, "127.0.0.1", 20_000)
    assert "DB=hunter22" in body["Env"]
    assert recipe.files == {"db": "hunter22"}
    assert body["HostConfig"]["Mounts"] == [{"Type": "volume", "Target": "/run/secrets"}]
    assert "hunter22" not in repr(recipe)
    assert "hunter22" not in str(body["Labels"])
    assert recipe.hide("error: hunter22!") == "error: (hidden)!"
    assert hider_of({"Labels": body["Labels"]}, connection)("x hunter22") == "x (hidden)"


@pytest.mark.parametrize("name", ["../etc", "a/b"])
def test_a_secret_is_a_name_and_no_path(name: str) -> None:
    with pytest.raises(ValidationError):
        DockerOptions.model_validate({"port": 1, "secret_files": [name]})


def test_a_secret_that_is_not_there_is_named(tmp_path: Path) -> None:
    order = wanted({"image": "a:1", "port": 80, "secret_files": ["db"]})
    with pytest.raises(Retryable, match="secrets_directory"):
        recipe_of(order, DockerConnection())
    with pytest.raises(Retryable, match="db"):
        recipe_of(order, DockerConnection(secrets_directory=tmp_path))


def test_the_kind_tells_what_a_connection_lacks() -> None:
    options = DockerOptions.model_validate({"port": 80, "secret_files": ["db"], "image": "a"})
    (found,) = DOCKER.check(options, None)
    assert found.path == ("secret_files",)
    (missing,) = DOCKER.check_version(DockerOptions(port=80), wanted({}))
    assert missing.path == ("image",)


def test_everything_that_is_made_says_whose_it_is() -> None:
    recipe = recipe_of(wanted({"image": "a:{version}", "port": 80}), DockerConnection())
    for body in (
        body_of(recipe, "prod", 2, "127.0.0.1", None),
        run_body(recipe, "prod", "key", ("true",)),
    ):
        said = body["Labels"]
        assert (said["aviary.owner"], said["aviary.release"]) == ("prod", "r1")
        assert (said["aviary.service"], said["aviary.version"]) == ("checkout", "1.4.2")
        assert said["aviary.generation"] == "3"
        assert not {"canary", "stable"} & set(said.values()), "a role changes, a label can't"


def test_the_recipe_becomes_what_the_engine_is_told() -> None:
    recipe = recipe_of(
        wanted(
            {
                "port": 80,
                "memory": "64m",
                "cpus": 0.5,
                "restart": "on-failure:3",
                "networks": ["shop", "db"],
                "health": {"test": ["check"], "interval": "3s"},
                "logging": {"driver": "local", "options": {"max-size": "1m"}},
                "environment": {"A": "recipe", "B": "2"},
            },
            image="from-event:9",
            config={"A": "event"},
        ),
        DockerConnection(),
    )
    body = body_of(recipe, "prod", 1, "127.0.0.1", 20_001)
    host = body["HostConfig"]
    assert body["Image"] == "from-event:9"
    assert body["Env"] == ["A=event", "B=2"]
    assert (host["Memory"], host["NanoCpus"], host["NetworkMode"]) == (
        64 << 20,
        500_000_000,
        "shop",
    )
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}
    assert host["PortBindings"] == {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "20001"}]}
    assert body["Healthcheck"]["Interval"] == 3_000_000_000
    assert host["LogConfig"]["Type"] == "local"


@pytest.mark.parametrize(
    "wrong",
    [
        {"port": 0},
        {"port": 80, "memory": "1m"},
        {"port": 80, "memory": "much"},
        {"port": 80, "image": "a:{tag}"},
        {"port": 80, "networks": ["host"]},
        {"port": 80, "reach": "name"},
        {"port": 80, "environment": {"DB_PASSWORD": "x"}},
        {"port": 80, "labels": {"aviary.owner": "me"}},
        {"port": 80, "privileged": True},
        {"port": 80, "mounts": ["a:b"]},
        {},
    ],
)
def test_a_recipe_that_can_not_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DockerOptions.model_validate(wrong)
    with pytest.raises(Terminal, match="checkout"):
        recipe_of(wanted(wrong), DockerConnection())


@pytest.mark.parametrize(
    "wrong",
    [
        {"host": "http://x"},
        {"host": "tcp://x"},
        {"host": "unix://relative"},
        {"host": "ssh://-oProxyCommand=x/y"},
        {"host": "tcp://x:1", "known_hosts_file": "/x"},
        {"insecure": True},
        {"ports": "5-4"},
        {"ports": "0-70000"},
        {"host": "tcp://x:2376", "ca_file": "/nowhere.pem"},
    ],
)
def test_a_connection_that_can_not_be_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        DockerConnection.model_validate(wrong)


def test_ssh_is_asked_as_docker_does() -> None:
    connection = DockerConnection(host="ssh://deploy@far.example:2222", key_file=Path("/key"))
    words = command(connection)
    assert words[-5:] == ("--", "deploy@far.example", "docker", "system", "dial-stdio")
    assert words[words.index("-p") + 1] == "2222"
    assert "StrictHostKeyChecking=yes" in words
    assert connection.published_at == "far.example"


@given(version=st.from_regex(r"\A[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}\Z"), other=st.text(max_size=3))
def test_names_are_names_of_docker_and_tell_versions_apart(version: str, other: str) -> None:
    name = marks.name_of("aviary", "shop", version, "1")
    assert all(each.isascii() and (each.isalnum() or each in "_.-") for each in name)
    mixed = version.replace("+", "-")
    if mixed != version:
        assert marks.name_of("aviary", "shop", mixed, "1") != name


def test_a_plain_version_is_in_the_name_as_it_is() -> None:
    assert marks.name_of("aviary", "checkout", "1.4.2", "1") == "aviary-checkout-1.4.2-1"


@given(count=st.integers(1, 40))
def test_no_port_is_given_twice(count: int) -> None:
    ports = HostPorts(range(100, 140), [{"Ports": [{"PublicPort": 99}], "Labels": {}}])
    taken = [ports.take(f"c-{n}") for n in range(count)]
    assert len(set(taken)) == count
    assert set(taken) <= set(range(100, 140))


def test_no_port_left_is_trouble() -> None:
    ports = HostPorts(range(5, 6), [{"Labels": {marks.HOST_PORT: "5"}}])
    with pytest.raises(TroubledError, match="no free port from 5 to 5"):
        ports.take("a")


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("manifest for x:1 not found: manifest unknown: manifest unknown", Trouble.IMAGE_MISSING),
        ("pull access denied for x, repository does not exist", Trouble.PULL_FAILED),
        ("Get https://r/v2/: unauthorized: authentication required", Trouble.PULL_FAILED),
        ("dial tcp: connection refused", Trouble.PULL_FAILED),
        ("write /var/lib/x: no space left on device", Trouble.NO_SPACE),
    ],
)  # fmt: skip
def test_a_registry_s_words_are_understood(text: str, trouble: Trouble) -> None:
    assert of_pull("x:1", text).trouble is trouble


@pytest.mark.parametrize(
    ("text", "trouble"),
    [
        ("No such image: x:1", Trouble.IMAGE_MISSING),
        ("mkdir /var: no space left on device", Trouble.NO_SPACE),
        ('exec: "x": executable file not found in $PATH', Trouble.WRONG_RECIPE),
        ("network shop not found", Trouble.WRONG_RECIPE),
        ("something else", Trouble.OTHER),
    ],
)
def test_the_daemon_s_words_are_understood(text: str, trouble: Trouble) -> None:
    assert of_start("c", text).trouble is trouble


def container(status: str, **state: Any) -> dict[str, Any]:
    return {
        "Name": "/aviary-a-1-1",
        "RestartCount": 2,
        "State": {"Status": status, "StartedAt": "2025-12-31T23:59:00.123456789Z", **state},
        "Config": {"Labels": {"aviary.port": "80", "aviary.reach": "name"}},
        "HostConfig": {"Memory": 64 << 20},
    }


@pytest.mark.parametrize(
    ("said", "state", "trouble", "text"),
    [
        (container("running"), InstanceState.READY, None, ""),
        (container("running", Health={"Status": "healthy"}), InstanceState.READY, None, ""),
        (
            container("running", Health={"Status": "starting"}),
            InstanceState.STARTING, None, "not passed",
        ),
        (
            container(
                "running",
                Health={"Status": "unhealthy", "Log": [{"ExitCode": 1, "Output": "no db"}]},
            ),
            InstanceState.NOT_READY, Trouble.PROBE_FAILED, "exit code 1, no db",
        ),
        (
            container("restarting", ExitCode=4),
            InstanceState.FAILED, Trouble.CRASH_LOOP, "ended with 4 (3 times)",
        ),
        (container("exited", ExitCode=137), InstanceState.FAILED, Trouble.CRASH_LOOP, "was killed"),
        (container("stopped", ExitCode=1), InstanceState.FAILED, Trouble.CRASH_LOOP, "ended with"),
        (
            container("exited", OOMKilled=True),
            InstanceState.FAILED, Trouble.OUT_OF_MEMORY, "64 MB",
        ),
        (
            container("restarting", ExitCode=137),
            InstanceState.FAILED, Trouble.OUT_OF_MEMORY, "more than its memory of 64 MB",
        ),
        (container("created"), InstanceState.STARTING, None, "not started"),
        (container("paused"), InstanceState.NOT_READY, None, "paused"),
        (container("removing"), InstanceState.DRAINING, None, "removed"),
        ({}, InstanceState.NOT_READY, None, "in the state None"),
    ],
)  # fmt: skip
def test_a_container_is_understood(
    said: dict[str, Any], state: InstanceState, trouble: Trouble | None, text: str
) -> None:
    found = look(said, "127.0.0.1", NOW)
    assert (found.state, found.trouble) == (state, trouble)
    assert text in found.instance.text


def test_how_long_it_runs_is_read_from_the_daemon_s_time() -> None:
    assert look(container("running"), "127.0.0.1", NOW).age_s == pytest.approx(59.88, abs=0.01)


def test_frames_of_a_log_are_joined_even_if_the_first_was_cut() -> None:
    def frame(text: bytes) -> bytes:
        return b"\x01\0\0\0" + len(text).to_bytes(4, "big") + text

    whole = frame(b"one\n") + frame(b"two\n")
    assert _demultiplexed(whole) == b"one\ntwo\n"
    assert _demultiplexed(whole[5:]).endswith(b"two\n")
    assert _demultiplexed(whole[:-2]) == b"one\ntw"


@pytest.mark.parametrize(
    ("reach", "instances", "told"),
    [("host", 5, ""), ("host", 6, "at most 5: two versions share 10 ports"), ("address", 6, "")],
)
def test_more_instances_than_the_host_has_ports_for_are_refused_beforehand(
    reach: str, instances: int, told: str
) -> None:
    recipe = {"kind": "docker", "connection": "box", "image": "a:{version}", "port": 80}
    document = {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}},
        "services": {"a": {"deploy": {**recipe, "reach": reach, "instances": instances}}},
    }
    box = {"box": DockerConnection(ports="20000-20009")}
    if told:
        with pytest.raises(ValueError, match=told):
            make_catalog(document, box)
    else:
        assert make_catalog(document, box).resolve("a").deploy is not None
