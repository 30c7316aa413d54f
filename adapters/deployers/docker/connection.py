"""What reaches a Docker daemon, and what its host has for Aviary's containers."""

from __future__ import annotations

import re
import ssl
from pathlib import Path
from typing import ClassVar, Final, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from adapters.connections import Connection
from adapters.tls import TlsFiles

SOCKET: Final = "unix:///var/run/docker.sock"
_TARGET: Final = re.compile(
    r"unix:///[^\s]+|(tcp|ssh)://([A-Za-z0-9._-]+@)?([A-Za-z0-9._-]+|\[[0-9a-fA-F:]+\])(:\d{1,5})?"
)
_HIGHEST: Final = 65_535


class DockerConnection(Connection):
    """A Docker daemon, or another service with its API, and who we are to it.

    Registry credentials are Docker's own: of `config.json`, with its credential helpers.
    """

    connection_kind: ClassVar[str] = "docker"

    host: str = Field(
        default=SOCKET,
        max_length=500,
        description="unix:///path, tcp://host:port (TLS) or ssh://user@host.",
    )
    ca_file: Path | None = Field(default=None, description="Authorities of the daemon, PEM.")
    cert_file: Path | None = Field(default=None, description="Our certificate with its chain, PEM.")
    key_file: Path | None = Field(
        default=None, description="Its private key; with ssh://, the key to log in with."
    )
    known_hosts_file: Path | None = Field(
        default=None, description="With ssh://: host keys, where not those of the user."
    )
    insecure: bool = Field(
        default=False,
        description="With tcp://: without TLS. Whoever reaches that port is root of the host.",
    )
    config_file: Path | None = Field(
        default=None,
        description="Docker's config.json; that of $DOCKER_CONFIG or ~/.docker if not.",
    )
    secrets_directory: Path | None = Field(
        default=None, description="A file for each secret that recipes may name."
    )
    address: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9._:-]{1,253}$",
        description="Where routers reach published ports; the daemon's own host if not set.",
    )
    ports: str = Field(
        default="20000-29999",
        pattern=r"^\d{1,5}-\d{1,5}$",
        description="Ports of the host that instances may be given.",
    )
    prefix: str = Field(
        default="aviary",
        pattern=r"^[a-z0-9][a-z0-9_.-]{0,30}$",
        description="Beginning of the names of containers: another for each environment of a host.",
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not _TARGET.fullmatch(self.host):
            raise ValueError(
                "host: expected unix:///path, tcp://host:port or ssh://user@host, got "
                f"{self.host!r}"
            )
        low, high = self.port_range.start, self.port_range.stop - 1
        if not 0 < low <= high <= _HIGHEST:
            raise ValueError(f"ports: expected two ports as in 20000-29999, got {self.ports!r}")
        scheme = self.scheme
        if self.insecure and scheme != "tcp":
            raise ValueError("insecure: expected only beside a host tcp://…")
        if self.known_hosts_file and scheme != "ssh":
            raise ValueError("known_hosts_file: expected only beside a host ssh://…")
        if (self.ca_file or self.cert_file) and (scheme != "tcp" or self.insecure):
            raise ValueError("ca_file, cert_file: expected only beside a host tcp://… with TLS")
        if self.key_file and not self.cert_file and scheme != "ssh":
            raise ValueError("expected cert_file beside key_file")
        if scheme == "tcp" and urlsplit(self.host).port is None:
            raise ValueError("host: expected a port, as in tcp://host:2376")
        try:
            self.tls()
        except OSError as error:
            raise ValueError(f"expected readable PEM files: {error}") from None
        return self

    @property
    def scheme(self) -> str:
        """`unix`, `tcp` or `ssh`."""
        return self.host.partition(":")[0]

    @property
    def port_range(self) -> range:
        """The ports of `ports`."""
        low, high = map(int, self.ports.split("-"))
        return range(low, high + 1)

    @property
    def published_at(self) -> str:
        """Where published ports are reached."""
        if self.address is not None:
            return self.address
        return "127.0.0.1" if self.scheme == "unix" else str(urlsplit(self.host).hostname)

    def tls(self) -> ssl.SSLContext | None:
        """What TCP is wrapped in.

        Raises:
            OSError: a file can't be read, or is not what it should be.
        """
        if self.scheme != "tcp" or self.insecure:
            return None
        return TlsFiles(self.ca_file, self.cert_file, self.key_file).context()
