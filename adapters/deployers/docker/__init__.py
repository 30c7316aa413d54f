"""Docker, as a kind of deployer.

Here belongs all that knows the Engine API, its labels and compose files. What decides when a
version goes up or down does not.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from adapters.deployers.docker.connection import DockerConnection
from adapters.deployers.docker.options import DockerOptions, Reach
from adapters.kinds import DeployerKind, Shared
from adapters.ports import Deployer
from schemas.catalog_check import MISSING, Finding
from schemas.deployment import WantedVersion


def _check(options: DockerOptions, connection: DockerConnection | None) -> Iterator[Finding]:
    folder = connection.secrets_directory if connection else None
    for field in ("secret_env", "secret_files"):
        if getattr(options, field) and folder is None:
            expected = "a connection with a secrets_directory, which has them"
            yield Finding((field,), MISSING, expected)
    # Beside the recipe stands how many instances there shall be, two versions of them at most.
    instances = getattr(options, "instances", 1)
    ports = len((connection or DockerConnection()).port_range)
    if options.reach is Reach.HOST and 2 * instances > ports:
        expected = f"at most {ports // 2}: two versions share {ports} ports of the host"
        yield Finding(("instances",), instances, expected)


def _check_version(options: DockerOptions, wanted: WantedVersion) -> Iterator[Finding]:
    if wanted.image is None and options.image is None:
        expected = "an image, here or in the event"
        yield Finding(("image",), MISSING, expected)


def _make(connection: DockerConnection | None, owner: str, _: Shared) -> Deployer:
    from adapters.deployers.docker.deployer import DockerDeployer  # noqa: PLC0415 - its client library is heavy

    return DockerDeployer(connection or DockerConnection(), owner)


DOCKER: Final = DeployerKind[DockerOptions, DockerConnection](
    name="docker",
    text="Containers of one Docker host: over its socket, TCP with TLS, or SSH.",
    connection=DockerConnection,
    make=_make,
    options=DockerOptions,
    check=_check,
    check_version=_check_version,
    image=True,
)
