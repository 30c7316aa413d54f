"""What a stack fills in of its catalog."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from aviary.catalogs import make_catalog
from aviary.cli.demo.shapes import SHAPES
from aviary.connections import read_written
from aviary.local import catalogs, instances
from aviary.local.own import OwnStack, WrongServiceError
from aviary.local.ports import FreePorts
from aviary.local.shop import DEPENDENCIES
from aviary.settings import SettingsError
from schemas.catalog_file import CatalogError

_ROUTER = {"kind": "envoy", "directory": "/e", "admin": ["http://127.0.0.1:9901"]}


def _filled(*, deploys: bool) -> dict[str, Any]:
    return catalogs.of_the_shop(catalogs.SHOP, _ROUTER, router_port=10_000, deploys=deploys)


def test_the_shop_s_versions_are_recipes_of_the_stack_s_own_deployer(tmp_path: Path) -> None:
    block = FreePorts().block()
    connections = {instances.CONNECTION: instances.connection(tmp_path, block)}
    catalog = make_catalog(_filled(deploys=True), connections)
    block.close()
    deploy = catalog.resolve("ledger").deploy
    assert deploy is not None
    assert (deploy.kind, deploy.connection) == ("process", instances.CONNECTION)
    command = deploy.recipe["command"]
    assert isinstance(command, list)
    assert command[:3] == [sys.executable, "-m", "aviary.local.shop"]
    assert deploy.recipe["env"] == {"ROUTER_PORT": "10000"}
    assert catalog.resolve("ledger").router.options["directory"] == "/e"


def test_a_feature_flag_keeps_its_provider(tmp_path: Path) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(
        "version: 1\nservices:\n  one: {router: {kind: nginx}}\n"
        "  flag: {router: {kind: flagd, file: /f.json}, metrics: []}\n  odd: {router: [flagd]}\n"
    )
    services = catalogs.of_ones_own(path, _ROUTER, "http://127.0.0.1:1")["services"]
    assert services["flag"]["router"] == {"kind": "flagd", "file": "/f.json"}
    assert "router" not in services["one"]
    assert "router" not in services["odd"]


def test_without_a_deployer_the_stack_puts_versions_up() -> None:
    assert make_catalog(_filled(deploys=False)).resolve("ledger").deploy is None


_OWN = """
version: 1
defaults:
  router: {kind: memory}
  deploy: {kind: process, command: [./run, "{port}"], cwd: bin}
services:
  one: {router: {kind: nginx}}
  two: {deploy: {kind: process, command: [perl], env: {ROUTER: elsewhere}}}
  three: {deploy: {kind: docker, image: "three:{version}", port: 80}}
  four: {deploy: none}
"""


def _own(folder: Path, text: str = _OWN, **first: str) -> OwnStack:
    (folder / "own.yaml").write_text(text)
    return OwnStack(
        folder / "stack", folder / "cache", catalog=folder / "own.yaml", first=first, rps=1
    )


async def test_services_of_ones_own_are_behind_the_stack_s_router_and_start_where_their_catalog_is(
    tmp_path: Path,
) -> None:
    async with _own(tmp_path, one="1.0.0") as stack:
        document = stack._document()
    envoy = document["defaults"]["router"]
    assert envoy["directory"] == str(tmp_path / "stack/envoy")
    assert "health_path" not in envoy
    address = stack.addresses["shop"]
    one, two, three, four = document["services"].values()
    assert document["defaults"]["deploy"] == {
        "kind": "process",
        "command": ["./run", "{port}"],
        "connection": instances.CONNECTION,
        "cwd": str(tmp_path / "bin"),
        "env": {"ROUTER": address},
    }
    assert one == {}
    assert (two["deploy"]["cwd"], two["deploy"]["env"]) == (str(tmp_path), {"ROUTER": "elsewhere"})
    assert three["deploy"] == {"kind": "docker", "image": "three:{version}", "port": 80}
    assert four == {"deploy": "none"}
    assert stack._load().argv[-8:] == tuple(
        word for name in ("four", "one", "three", "two") for word in ("--service", name)
    )


@pytest.mark.parametrize(
    ("first", "said"),
    [
        ({"five": "1"}, "got five, expected a service of .*: four, one, three, two"),
        ({"four": "1"}, "got four, expected one with a deployer"),
    ],
)
async def test_a_version_that_nobody_can_put_up_is_refused(
    first: dict[str, str], said: str, tmp_path: Path
) -> None:
    async with _own(tmp_path, **first) as stack:
        with pytest.raises(WrongServiceError, match=said):
            stack._document()


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("version: [", "own.yaml:2: expected readable YAML"),
        ("- 1", "own.yaml"),
        (_OWN.replace("command: [perl]", "comand: [perl]"), "services.two.deploy.comand"),
        (_OWN.replace("services:", "servces:"), "servces"),
        ("version: 1\ndefaults: 7\nservices: 8", "services"),
        (_OWN.replace("{kind: docker", "{kind: docker, connection: prod"), "prod"),
    ],
)
async def test_what_is_wrong_with_a_catalog_is_told(text: str, said: str, tmp_path: Path) -> None:
    async with _own(tmp_path, text) as stack:
        with pytest.raises(CatalogError) as refused:
            stack._document()
    assert said in str(refused.value)


_BOX = """
box:
  kind: docker
  host: tcp://box.example:2375
  insecure: true
  address: 192.0.2.7
"""


def _connected(folder: Path) -> OwnStack:
    """A stack that is told of the connections in `box.yaml`."""
    return OwnStack(
        folder / "stack",
        folder / "cache",
        catalog=folder / "own.yaml",
        first={},
        rps=1,
        connections=folder / "box.yaml",
    )


async def test_a_recipe_may_name_a_connection_that_the_stack_is_told_of(tmp_path: Path) -> None:
    (tmp_path / "box.yaml").write_text(_BOX)
    text = _OWN.replace("{kind: docker", "{kind: docker, connection: box")
    (tmp_path / "own.yaml").write_text(text)
    async with _connected(tmp_path) as stack:
        stack._write_configuration()
        file = Path(stack.settings["AVIARY_CONNECTIONS_FILE"])
    known = read_written(file, "test").known
    assert set(known) == {instances.CONNECTION, "box"}
    assert known["box"] == read_written(tmp_path / "box.yaml", "test").known["box"]
    assert file.stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (_BOX.replace("box:", "here:"), "--connections: here: expected another name"),
        (_BOX.replace("kind: docker", "kind: dokcer"), "--connections: .*box.yaml:2: box.kind"),
        ("- 1", "--connections: .*box.yaml:1: expected a mapping"),
    ],
)
def test_what_is_wrong_with_connections_is_told(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "box.yaml").write_text(text)
    with pytest.raises(SettingsError, match=said):
        _connected(tmp_path)


@pytest.mark.parametrize("name", SHAPES)
def test_the_catalog_of_each_demo_is_valid_and_the_shop_s(name: str) -> None:
    document = catalogs.shaped(name)
    document["defaults"].pop("deploy")
    document["defaults"]["router"] = {"kind": "envoy", "directory": "/d", "admin": ["http://a:1"]}
    catalog = catalogs.checked(document, name, {})
    assert set(catalog.services) == set(DEPENDENCIES)
    assert (catalog.lanes is not None) is (name == "lanes")
    strategy = catalog.strategy("brisk")
    assert strategy is not None
    first = strategy.full_steps[0]
    shows = {
        "audiences": first.audience == "testers",
        "mirror": first.mirror == 50,
        "bluegreen": strategy.switches,
        "lanes": not catalog.services["checkout"].depends_on,
    }
    assert shows[name]
    assert yaml.safe_load(catalogs.SHAPES.read_text()).keys() == SHAPES.keys()
