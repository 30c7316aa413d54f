"""A real OpenSSH server in a Docker daemon's network, as if that were a machine of its own."""

from __future__ import annotations

import asyncio
import contextlib
import shlex
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from aviary.local.docker import DockerHost
from aviary.local.unpacked import environment, unpacked

PORT: Final = 2222
_UP_S: Final = 60.0
_POLL_S: Final = 0.1
# It drops its rights to an account of its own, and to a folder below /run; this machine need have
# neither, so it is shown another /etc/passwd.
_START: Final = """\
set -e
mount --bind {folder}/passwd /etc/passwd
mount --bind {folder}/shadow /etc/shadow
mount -t tmpfs none /run
mkdir -m 755 /run/sshd
exec {program} -D -e -f {folder}/sshd_config
"""
_PASSWD: Final = """\
root:x:0:0:root:{folder}:/bin/sh
sshd:x:65533:65534::/run/sshd:/usr/sbin/nologin
"""
_CONFIG: Final = """\
ListenAddress {address}:{port}
HostKey {folder}/host
AuthorizedKeysFile {folder}/client.pub
StrictModes no
UsePAM no
PidFile none
SetEnv PATH={path} DOCKER_HOST={socket}
"""


@dataclass(frozen=True)
class SshServer:
    """Where it is, and what its users have."""

    host: str
    """`ssh://…`."""
    key: Path
    """Of a user who may log in."""
    stranger: Path
    """Of one who may not."""
    known_hosts: Path
    unknown_hosts: Path
    """That knows another key of this host."""
    ssh: Path
    """The client."""


@asynccontextmanager
async def ssh_server(host: DockerHost, folder: Path) -> AsyncIterator[SshServer]:
    """Serve root of a host until the block is left; `docker` there is the host's daemon."""
    root = await asyncio.to_thread(unpacked, "openssh", "openssh-server")
    made = await asyncio.to_thread(_files, root, host, folder)
    script = _START.format(folder=folder, program=root / "usr/sbin/sshd")
    own = ("unshare", "--mount", "--propagation", "private", "sh", "-c", script)
    with (folder / "sshd.log").open("wb") as log:
        server = await asyncio.create_subprocess_exec(
            "nsenter", f"--net=/run/netns/{host.network.name}", *own,
            env=dict(environment(root)), stdout=log, stderr=log,
        )  # fmt: skip
    try:
        await _listening(host.address, server, folder / "sshd.log")
        yield made
    finally:
        with contextlib.suppress(ProcessLookupError):
            server.terminate()
        await server.wait()


def _files(root: Path, host: DockerHost, folder: Path) -> SshServer:
    for name in ("host", "other-host", "client", "stranger"):
        keygen = (root / "usr/bin/ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", folder / name)
        subprocess.run(keygen, env=environment(root), check=True, capture_output=True)
    known = {"known_hosts": "host", "unknown_hosts": "other-host"}
    for name, key in known.items():
        public = (folder / f"{key}.pub").read_text()
        (folder / name).write_text(f"[{host.address}]:{PORT} {public}")
    where = {"folder": folder, "address": host.address, "port": PORT, "path": host.tools.path}
    (folder / "passwd").write_text(_PASSWD.format(**where))
    (folder / "shadow").write_text("root:*:19000:0:99999:7:::\n")
    config = _CONFIG.format(**where, socket=f"unix://{host.socket}")
    (folder / "sshd_config").write_text(config)
    client = folder / "ssh"
    libraries = shlex.quote(environment(root)["LD_LIBRARY_PATH"])
    client.write_text(f'#!/bin/sh\nLD_LIBRARY_PATH={libraries} exec {root}/usr/bin/ssh "$@"\n')
    client.chmod(0o755)
    return SshServer(
        host=f"ssh://root@{host.address}:{PORT}",
        key=folder / "client",
        stranger=folder / "stranger",
        known_hosts=folder / "known_hosts",
        unknown_hosts=folder / "unknown_hosts",
        ssh=client,
    )


async def _listening(address: str, server: asyncio.subprocess.Process, log: Path) -> None:
    async with asyncio.timeout(_UP_S):
        while True:
            assert server.returncode is None, log.read_text()
            with contextlib.suppress(OSError):
                _, writer = await asyncio.open_connection(address, PORT)
                writer.close()
                return
            await asyncio.sleep(_POLL_S)
