"""Stand-ins for the images that `docker-compose.yml` names, made of packages.

Each has the programs, the paths, the accounts and the folders that the official one is documented
to have, as far as the file makes use of them. Programs are mounted from where the packages are
unpacked: to copy a gigabyte into images shows nothing more.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Final

from aviary.local import debian, images
from aviary.local.docker import DockerHost
from aviary.local.parts import ROOT, envoy_program
from aviary.local.temporal import programs
from aviary.local.unpacked import unpacked
from tests.compose.contexts import context
from tests.durability.apache import install as kafka_jars

PYTHON: Final = "python:3.11.14-slim-bookworm"
_SYSTEM: Final = (
    "bash", "busybox-static", "coreutils", "dash", "grep", "hostname", "libc-bin", "login", "mawk",
    "passwd", "python3", "python3-venv", "sed",
)  # fmt: skip
_ACCOUNTS: Final = b"""\
root:x:0:0:root:/root:/bin/bash
postgres:x:999:999::/var/lib/postgresql:/bin/sh
temporal:x:1000:1000::/home/temporal:/bin/sh
nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin
"""
_GROUPS: Final = b"root:x:0:\npostgres:x:999:\ntemporal:x:1000:\nnogroup:x:65534:\n"
_BASE: Final = f"""\
FROM {images.BASE}
COPY etc /etc
RUN ["/bin/busybox", "ln", "-sf", "/bin/busybox", "/bin/wget"]
COPY nc /bin/nc
RUN ["/bin/busybox", "ln", "-sf", "/usr/bin/mawk", "/usr/bin/awk"]
RUN ["/bin/busybox", "ln", "-sf", "/usr/bin/python3", "/usr/bin/python"]
RUN ["/bin/busybox", "mkdir", "-p", "-m", "1777", "/tmp"]
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
"""
# Debian's busybox has no `nc -z`; that of the official images has.
_NC: Final = b'#!/bin/bash\n[ "$1" = -z ] && exec 3<>"/dev/tcp/$2/$3"\n'
_PYTHON: Final = "FROM system:local\nCOPY pip.conf /etc/pip.conf\n"
# As the official one, but that its packages come from a page of this machine and not from an index.
_PIP: Final = "[global]\nno-index = true\nfind-links = {url}\ntrusted-host = {host}\n"

_LIBRARIES: Final = "usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"
_POSTGRES: Final = f"""\
FROM system:local
COPY start.sh /usr/local/bin/docker-entrypoint.sh
RUN mkdir -p /var/lib/postgresql/data /var/run/postgresql \\
 && chown -R 999:999 /var/lib/postgresql /var/run/postgresql
ENV PATH=/opt/postgresql/usr/lib/postgresql/15/bin:$PATH PGDATA=/var/lib/postgresql/data
ENV LD_LIBRARY_PATH={":".join(f"/opt/postgresql/{one}" for one in _LIBRARIES)}
VOLUME /var/lib/postgresql/data
USER 999:999
STOPSIGNAL SIGINT
ENTRYPOINT ["docker-entrypoint.sh"]
CMD ["postgres"]
"""
_POSTGRES_START: Final = b"""\
#!/bin/bash
set -eu
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  initdb --username="$POSTGRES_USER" --pwfile=<(echo "$POSTGRES_PASSWORD") \\
    --auth-local=trust --auth-host=scram-sha-256 --encoding=UTF8 --locale=C >/dev/null
  echo "host all all all scram-sha-256" >>"$PGDATA/pg_hba.conf"
  echo "jit = off" >>"$PGDATA/postgresql.conf"
  pg_ctl -w -o "-c listen_addresses=''" start >/dev/null
  createdb --username="$POSTGRES_USER" "$POSTGRES_USER"
  pg_ctl -m fast -w stop >/dev/null
fi
exec "$@" -c listen_addresses='*'
"""

_TEMPORAL: Final = """\
FROM system:local
WORKDIR /etc/temporal
USER temporal
CMD ["bash", "/etc/temporal/entrypoint.sh"]
"""
_ADMIN_TOOLS: Final = "FROM system:local\nUSER temporal\n"
_KAFKA: Final = f"""\
FROM system:local
COPY server.properties /etc/kafka/docker/server.properties
COPY start.sh /etc/kafka/docker/run
RUN mkdir -p /var/lib/kafka/data /opt/kafka/config /mnt/shared/config \\
 && chown -R 1000:1000 /var/lib/kafka /opt/kafka/config
ENV PATH=/usr/lib/jvm/java-17-openjdk-amd64/bin:$PATH
ENV LD_LIBRARY_PATH={":".join(f"/opt/java/{one}" for one in _LIBRARIES)}
USER 1000:1000
CMD ["/etc/kafka/docker/run"]
"""
# The official image begins likewise; without its archives of classes, and with a small heap.
_KAFKA_START: Final = b"""\
#!/bin/bash
set -eu
export CLUSTER_ID="${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}"
said=$(java -Xmx128m -XX:TieredStopAtLevel=1 -cp '/opt/kafka/libs/*' \\
  kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker \\
  --mounted-configs-dir /mnt/shared/config --final-configs-dir /opt/kafka/config 2>&1) \\
  || grep -qi "already formatted" <<<"$said" || { echo "$said"; exit 1; }
exec java -Xms64m -Xmx256m -XX:+UseSerialGC -XX:TieredStopAtLevel=1 \\
  -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp '/opt/kafka/libs/*' \\
  kafka.Kafka /opt/kafka/config/server.properties
"""
_PROMETHEUS: Final = """\
FROM system:local
RUN mkdir -p /prometheus /etc/prometheus && chown -R 65534:65534 /prometheus
USER nobody
WORKDIR /prometheus
ENTRYPOINT ["/bin/prometheus"]
"""
_ALERTMANAGER: Final = """\
FROM system:local
RUN mkdir -p /alertmanager /etc/alertmanager && chown -R 65534:65534 /alertmanager
USER nobody
ENTRYPOINT ["/bin/alertmanager"]
"""


async def make(host: DockerHost, named: Mapping[str, str], packages: str) -> None:
    """Make all of them on a host.

    Args:
        host: reaches no registry, and need not.
        named: the images of the file's services, by service.
        packages: address of the page with what Aviary's own image installs.

    Raises:
        DebianError, DockerError: one can't be made.
    """
    root = await asyncio.to_thread(unpacked, "image-base", *_SYSTEM, whole=True)
    await images.import_root(host, root, images.BASE)
    files = {
        "etc/passwd": _ACCOUNTS,
        "etc/group": _GROUPS,
        "etc/nsswitch.conf": b"hosts: files dns\n",
        "nc": _NC,
    }
    await _build(host, "system:local", _BASE, files)
    pip = _PIP.format(url=packages, host=host.network.here).encode()
    await _build(host, PYTHON, _PYTHON, {"pip.conf": pip})
    await _build(host, named["postgres"], _POSTGRES, {"start.sh": _POSTGRES_START})
    kafka = {"server.properties": b"", "start.sh": _KAFKA_START}
    await _build(host, named["kafka"], _KAFKA, kafka)
    for service, text in _OTHERS.items():
        await _build(host, named[service], text, {})


_OTHERS: Final = {
    "temporal": _TEMPORAL,
    "temporal-schema": _ADMIN_TOOLS,
    "prometheus": _PROMETHEUS,
    "alertmanager": _ALERTMANAGER,
    "envoy": "FROM system:local\n",
}


async def mounts() -> dict[str, list[str]]:
    """What each service of the file has of the packages, as compose writes volumes.

    Raises:
        DebianError, TemporalBuildError: something can't be had.
    """
    built = await programs.install(debian.cache_folder(), print)
    found = await debian.install(debian.cache_folder())
    postgres = await asyncio.to_thread(unpacked, "postgresql", "postgresql")
    java = await asyncio.to_thread(unpacked, "java-root", "openjdk-17-jre-headless")
    jars = await asyncio.to_thread(kafka_jars)
    tools = {
        Path(sys.executable).parent / "temporal": "/usr/local/bin/temporal",
        built.sql_tool: "/usr/local/bin/temporal-sql-tool",
        built.schemas: "/etc/temporal/schema",
    }
    by_service: dict[str, dict[Path, str]] = {
        "postgres": {postgres: "/opt/postgresql"},
        "kafka": {
            java: "/opt/java",
            java / "usr/lib/jvm": "/usr/lib/jvm",
            java / "etc/java-17-openjdk": "/etc/java-17-openjdk",
            jars: "/opt/kafka/libs",
        },
        "temporal": {
            built.server: "/usr/local/bin/temporal-server",
            built.entry_point: "/etc/temporal/entrypoint.sh",
        },
        "temporal-schema": tools,
        "temporal-namespace": tools,
        "prometheus": {found.prometheus: "/bin/prometheus"},
        "alertmanager": {
            found.alertmanager: "/bin/alertmanager",
            found.root / "usr/share/prometheus/alertmanager": "/usr/share/prometheus/alertmanager",
        },
        "envoy": {envoy_program(): "/usr/local/bin/envoy"},
    }
    return {
        service: [f"{source.resolve()}:{target}:ro" for source, target in every.items()]
        for service, every in by_service.items()
    }


@contextmanager
def packages(address: str) -> Iterator[str]:
    """A page with the packages of the lock file, as long as it is held: its address."""
    wheels = _wheels()
    handler = functools.partial(_Quiet, directory=str(wheels))
    with ThreadingHTTPServer((address, 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://{address}:{server.server_port}/"
        finally:
            server.shutdown()
            thread.join()


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - its name there
        """Nobody reads it."""


async def _build(
    host: DockerHost, name: str, dockerfile: str, files: Mapping[str, bytes | Path]
) -> None:
    tar = await asyncio.to_thread(context, dockerfile, files)
    await host.docker("build", "--network", "none", "--quiet", "--tag", name, "-", stdin=tar)


def _wheels() -> Path:
    """The packages of the lock file, checked against it, below the cache."""
    lock = ROOT / "requirements.lock"
    digest = hashlib.sha256(lock.read_bytes()).hexdigest()[:16]
    folder = debian.cache_folder() / "wheels"
    folder.mkdir(parents=True, exist_ok=True)
    with debian.locked(folder / "lock"):
        made, fresh = folder / digest, folder / "fresh"
        if not made.exists():
            shutil.rmtree(fresh, ignore_errors=True)
            options = ("--no-deps", "--require-hashes", "--only-binary=:all:")
            where = ("--python-version=3.11", "-r", str(lock), "-d", str(fresh))
            command = [sys.executable, "-m", "pip", "download", "--quiet", *options, *where]
            subprocess.run(command, check=True, capture_output=True, text=True)
            fresh.rename(made)
    return made
