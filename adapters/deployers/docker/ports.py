"""Ports of the host that instances are given, and keep while they live."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from adapters.deployers.docker import labels
from adapters.deployers.docker.troubles import TroubledError
from schemas.deployment import Trouble


class HostPorts:
    """Free ones, spread by name, so that two that choose at once seldom meet.

    Args:
        ports: to choose from.
        containers: of the host, as the daemon lists them: their ports are taken.
    """

    def __init__(self, ports: range, containers: Iterable[Mapping[str, Any]]) -> None:
        self._range = ports
        self._taken = set(_used(containers))

    def take(self, name: str) -> int:
        """One for a container of that name; nobody is given it again.

        Raises:
            TroubledError: there is none.
        """
        start = zlib.crc32(name.encode()) % len(self._range)
        for step in range(len(self._range)):
            port = self._range[(start + step) % len(self._range)]
            if port not in self._taken:
                self._taken.add(port)
                return port
        text = f"{name}: no free port from {self._range.start} to {self._range.stop - 1}"
        raise TroubledError(Trouble.NAME_TAKEN, text)


def _used(containers: Iterable[Mapping[str, Any]]) -> Iterator[int]:
    """What containers have, or will have once they are started."""
    for one in containers:
        yield labels.number(labels.labels_of(one), labels.HOST_PORT)
        for port in one.get("Ports") or ():
            if isinstance(port, dict) and isinstance(port.get("PublicPort"), int):
                yield port["PublicPort"]
