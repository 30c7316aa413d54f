from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.deployers.docker.compose import _KEYS as _TABLE
from adapters.deployers.docker.compose import inlined
from adapters.deployers.docker.options import DockerOptions

FULL = """
name: shop
x-checks: &checks {interval: 3s, timeout: 2s, retries: 4, start_period: 5s}
networks:
  inner: {}
  edge: {name: the-edge, external: true}
volumes: {data: {}}
services:
  checkout:
    build: .
    container_name: checkout
    depends_on: [db]
    image: registry.example:5000/shop/checkout:${TAG:-latest}
    command: serve --port "80 80"
    environment: [COLOUR=blue, PRICE=$$5]
    ports: ["127.0.0.1:80:8080"]
    healthcheck: {<<: *checks, test: wget -q localhost}
    deploy: {replicas: 3, resources: {limits: {memory: 256m, cpus: "0.5"}}}
    restart: on-failure:3
    logging: {driver: local, options: {max-size: 1m}}
    networks: [inner, edge]
    volumes: ["data:/data", "./conf:/conf:ro", {type: bind, source: /srv, target: /srv}]
    read_only: true
    tmpfs: /tmp
    cap_drop: [ALL]
    security_opt: ["no-new-privileges:true"]
    extra_hosts: ["db:10.0.0.7"]
    labels: {team: shop}
    stop_grace_period: 1m30s
    secrets: [db-password]
  db: {image: postgres, network_mode: host, privileged: true}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "compose.yaml"
    path.write_text(FULL)
    return path


def test_a_service_is_taken_with_all_that_it_says(file: Path) -> None:
    found = DockerOptions.model_validate({"compose": f"{file}#checkout"})
    assert found.compose is None, "the plan has the settings, and reads no file again"
    assert found.image_of("2.0") == "registry.example:5000/shop/checkout:2.0"
    assert found.command == ("serve", "--port", "80 80")
    assert found.environment == {"COLOUR": "blue", "PRICE": "$5"}
    assert found.port == 8080
    assert found.health is not None
    assert found.health.test == ("/bin/sh", "-c", "wget -q localhost")
    assert (found.health.interval.total_seconds(), found.health.retries) == (3, 4)
    assert (found.memory, found.cpus, found.restart) == ("256m", 0.5, "on-failure:3")
    assert found.networks == ("shop_inner", "the-edge")
    conf = file.parent.resolve() / "conf"
    assert found.mounts == ("shop_data:/data", f"{conf}:/conf:ro", "/srv:/srv")
    assert found.hosts == {"db": "10.0.0.7"}
    assert (found.read_only, found.no_new_privileges, found.tmpfs) == (True, True, ("/tmp",))
    assert found.stop_grace.total_seconds() == 90
    assert found.secret_files == ("db-password",)


def test_what_stands_beside_it_wins_and_the_plan_reads_as_the_catalog(file: Path) -> None:
    written = {"compose": f"{file}#checkout", "port": 9, "image": "other:{version}", "pids": 5}
    found = DockerOptions.model_validate(written)
    assert (found.port, found.image, found.pids) == (9, "other:{version}", 5)
    file.unlink()
    assert DockerOptions.model_validate(found.model_dump(mode="json")) == found


def test_without_networks_it_is_in_the_one_of_its_project(tmp_path: Path) -> None:
    folder = tmp_path / "My Shop"
    folder.mkdir()
    (folder / "c.yaml").write_text("services: {a: {image: a, expose: [80]}}")
    assert inlined({"compose": f"{folder}/c.yaml#a"})["networks"] == ["myshop_default"]


@pytest.mark.parametrize(
    ("service", "said"),
    [
        ({"network_mode": "host"}, "network_mode: not supported"),
        ({"privileged": True}, "privileged: not supported"),
        ({"env_file": "x.env"}, "env_file: not supported"),
        ({"healthcheck": {"test": "x", "disable": True}}, "healthcheck.disable: not supported"),
        ({"deploy": {"mode": "global"}}, "deploy.mode: not supported"),
        ({"networks": {"inner": {"aliases": ["a"]}}}, "networks.inner: expected nothing"),
        ({"networks": ["nowhere"]}, "'nowhere' to be declared"),
        ({"volumes": ["nothing:/x"]}, "'nothing' to be declared"),
        ({"volumes": ["a:b:c:d"]}, "volumes.0: expected source:/target"),
        ({"environment": {"TOKEN": None}}, "environment.TOKEN: expected a value"),
        ({"environment": {"A": "${B}"}}, "expected no ${…}"),
        ({"command": "a 'b"}, "command: expected a command"),
        ({"ports": ["80-90:80-90"]}, "ports.0: expected one port of TCP"),
        ({"ports": ["53:53/udp"]}, "ports.0"),
        ({"image": "x:$A/$B"}, "image: expected a name with a tag"),
        ({"security_opt": ["seccomp=x"]}, "seccomp=x"),
    ],
)
def test_what_can_not_be_done_is_named(tmp_path: Path, service: dict[str, Any], said: str) -> None:
    document = {"networks": {"inner": {}}, "services": {"a": {"image": "a:1", **service}}}
    path = tmp_path / "compose.yaml"
    path.write_text(yaml.safe_dump(document))
    with pytest.raises(ValidationError) as caught:
        DockerOptions.model_validate({"compose": f"{path}#a", "port": 1})
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("compose", "said"),
    [
        ("nowhere.yaml#a", "No such file"),
        ("x", "expected file#service"),
        ("#a", "expected file#service"),
        (7, "expected file#service"),
        ("{file}#nobody", "'nobody' (checkout, db)"),
        ("{file}#db", "network_mode: not supported by Aviary"),
        ("{folder}#a", "Is a directory"),
    ],
)
def test_a_file_that_can_not_be_used_is_told(file: Path, compose: Any, said: str) -> None:
    if isinstance(compose, str):
        compose = compose.format(file=file, folder=file.parent)
    with pytest.raises(ValueError, match="compose") as caught:
        inlined({"compose": compose})
    assert said in str(caught.value)


@pytest.mark.parametrize("text", ["services: [", "- a", "services: 7", "\x00", "x" * 2_000_000])
def test_what_is_no_compose_file_is_told(tmp_path: Path, text: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(text)
    with pytest.raises(ValueError, match="c.yaml|services"):
        inlined({"compose": f"{path}#a"})


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=6,
)
_KEYS = st.sampled_from(sorted(_TABLE))


@given(service=st.dictionaries(_KEYS, _JSON, max_size=4))
def test_whatever_stands_there_is_a_recipe_or_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, service: dict[str, Any]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.yaml"
    path.write_text(yaml.safe_dump({"services": {"a": service}}))
    try:
        found = DockerOptions.model_validate({"compose": f"{path}#a", "port": 1})
    except ValidationError:
        return
    assert DockerOptions.model_validate(found.model_dump(mode="json")) == found
