"""The ways to a Docker daemon beside its socket: TCP with TLS, and SSH.

Each is a named connection of the settings, as a worker reads it, to a real daemon.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml

from adapters.deployers.docker.connection import DockerConnection
from adapters.deployers.docker.deployer import DockerDeployer
from adapters.errors import Retryable
from aviary.connections import read_connections
from aviary.local.docker import DockerError, DockerHost, Network
from aviary.settings import Settings
from tests.contract.deployers.docker_host import answer, build, docker_tools, host_folder, recipe
from tests.contract.deployers.orders import LONGEST_S, put_up
from tests.contract.deployers.sshd import SshServer, ssh_server
from tests.contract.deployers.subjects import NEW, OWNER, free, new_name, order

_PORT = 2376


def pem_files(folder: Path, address: str) -> dict[str, Path]:
    """A daemon's certificate and a client's, and a stranger's of another authority."""
    authority, other = trustme.CA(), trustme.CA()
    made = {
        name: folder / f"{name}.pem" for name in ("ca", "other", "daemon", "client", "stranger")
    }
    authority.cert_pem.write_to_path(made["ca"])
    other.cert_pem.write_to_path(made["other"])
    whose = {"daemon": (authority, address), "client": (authority, "aviary.example")}
    for name, (issuer, whom) in {**whose, "stranger": (other, "aviary.example")}.items():
        issuer.issue_cert(whom).private_key_and_cert_chain_pem.write_to_path(made[name])
    return made


def named(folder: Path, **says: Any) -> DockerConnection:
    """The connection, read from a file of the settings."""
    file = folder / "connections.yaml"
    said = {name: str(value) for name, value in says.items()}
    file.write_text(yaml.safe_dump({"shop": {"kind": "docker", **said}}))
    found = read_connections(Settings(connections_file=file))["shop"]
    assert isinstance(found, DockerConnection)
    return found


async def serves(deployer: DockerDeployer, host: DockerHost) -> None:
    """Put a version up, look at it, and take it down."""
    service = new_name()
    state = await put_up(deployer, order(service, NEW, 1, 2, recipe=recipe()))
    assert [await answer(one) for one in state.endpoints] == [NEW, NEW]
    assert {one.host for one in state.endpoints} == {host.address}
    assert [one.version for one in await deployer.versions(service)] == [NEW]
    async with asyncio.timeout(LONGEST_S):
        await deployer.take_down(service, NEW, 2, free)
    assert not await deployer.versions(service)


@asynccontextmanager
async def of(
    connection: DockerConnection, ssh: Path | str = "ssh"
) -> AsyncIterator[DockerDeployer]:
    deployer = DockerDeployer(connection, OWNER, ssh=str(ssh))
    try:
        yield deployer
    finally:
        await deployer.aclose()


async def refused(connection: DockerConnection, ssh: Path | str = "ssh") -> str:
    """Why nothing can be asked of it."""
    async with of(connection, ssh) as deployer:
        with pytest.raises(Retryable) as told:
            await deployer.versions("checkout")
    return str(told.value)


@asynccontextmanager
async def started(host: DockerHost) -> AsyncIterator[DockerHost]:
    try:
        await host.__aenter__()
    except DockerError as error:
        pytest.skip(str(error))
    try:
        await build(host, f"shop:{NEW}", NEW)
        yield host
    finally:
        await host.remove()


async def test_over_tcp_a_daemon_serves_whom_it_trusts_and_nobody_else(tmp_path: Path) -> None:
    tools, network = await docker_tools(), Network.draw()
    files = pem_files(tmp_path, network.there)
    certificate = ("--tlscert", str(files["daemon"]), "--tlskey", str(files["daemon"]))
    listens = ("--host", f"tcp://{network.there}:{_PORT}", "--tlsverify", *certificate)
    trusts = ("--tlscacert", str(files["ca"]))
    says = {"host": f"tcp://{network.there}:{_PORT}", "ca_file": files["ca"]}
    with host_folder() as folder:
        made = DockerHost(tools, folder, network=network, further=(*listens, *trusts))
        async with started(made) as host:
            async with of(named(tmp_path, **says, cert_file=files["client"])) as deployer:
                await serves(deployer, host)
                await host.kill()
                with pytest.raises(Retryable):
                    await deployer.versions("checkout")
                await host.start()
                assert not await deployer.versions("checkout")

            assert "certificate" in await refused(named(tmp_path, **says))
            stranger = named(tmp_path, **says, cert_file=files["stranger"])
            assert re.search("certificate|unknown ca", await refused(stranger))
            mistaken = says | {"ca_file": files["other"], "cert_file": files["client"]}
            assert "CERTIFICATE_VERIFY_FAILED" in await refused(named(tmp_path, **mistaken))
            plain = named(tmp_path, host=says["host"], insecure="true")
            assert "HTTP request to an HTTPS server" in await refused(plain)


@pytest.fixture
async def server(docker_host: DockerHost, tmp_path: Path) -> AsyncIterator[SshServer]:
    async with ssh_server(docker_host, tmp_path) as made:
        yield made


async def test_over_ssh_a_daemon_serves_whom_its_host_lets_in(
    docker_host: DockerHost, server: SshServer, tmp_path: Path
) -> None:
    says = {"host": server.host, "key_file": server.key, "known_hosts_file": server.known_hosts}
    async with of(named(tmp_path, **says), server.ssh) as deployer:
        await serves(deployer, docker_host)
    stranger = named(tmp_path, **{**says, "key_file": server.stranger})
    assert "Permission denied (publickey" in await refused(stranger, server.ssh)
    unknown = named(tmp_path, **{**says, "known_hosts_file": server.unknown_hosts})
    assert "Host key verification failed" in await refused(unknown, server.ssh)
    nobody = named(tmp_path, **{**says, "host": server.host.replace(":2222", ":2223")})
    assert "Connection refused" in await refused(nobody, server.ssh)
    no_client = await refused(named(tmp_path, **says), tmp_path / "none")
    assert "No such file or directory" in no_client
