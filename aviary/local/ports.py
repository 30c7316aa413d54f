"""Free loopback ports."""

from __future__ import annotations

import os
import random
import re
import socket
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
RANGE: Final = "AVIARY_PORTS"
"""The variable with the lowest and the highest port to take, as in `15000-16999`."""
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 15_000
_HIGHEST: Final = 65_535
_TRIES: Final = 1_000


class PortsError(ValueError):
    """`AVIARY_PORTS` is no range of ports; the text says what was expected."""


class FreePorts:
    """Hands out loopback ports that nobody listens on, each once.

    They lie below the kernel's ephemeral range: no outgoing connection takes one between the
    moment it is chosen and the moment the child listens on it. Two programs that choose at the
    same moment may choose the same port, unless each has a range of its own (`AVIARY_PORTS`).

    Raises:
        PortsError: `AVIARY_PORTS` is no range of ports.
    """

    def __init__(self) -> None:
        self._given: set[int] = set()
        self._random = random.SystemRandom()
        self._range = _range(os.environ.get(RANGE))

    def take(self) -> int:
        """One port.

        Raises:
            OSError: a thousand tries found none.
        """
        for _ in range(_TRIES):
            port = self._random.choice(self._range)
            if port not in self._given and is_free(port):
                self._given.add(port)
                return port
        first, last = self._range[0], self._range[-1]
        raise OSError(f"no free port found on {LOOPBACK} from {first} to {last}")


def is_free(port: int) -> bool:
    """Whether nobody listens on the port, on loopback or on all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def _range(chosen: str | None) -> range:
    if not chosen:
        return range(_LOWEST, _first_ephemeral())
    found = re.fullmatch(r"(\d{1,5})-(\d{1,5})", chosen, re.ASCII)
    first, last = map(int, found.groups()) if found else (0, 0)
    if not 0 < first <= last <= _HIGHEST:
        raise PortsError(f"{RANGE}: expected two ports as in 15000-16999, got {chosen!r}")
    return range(first, last + 1)


def _first_ephemeral() -> int:
    try:
        first = int(_EPHEMERAL.read_text().split()[0])
    except FileNotFoundError:
        return 32_768
    # A machine may have widened the range to all ports: then any free port has to do.
    return first if first > _LOWEST + 1_000 else 60_000
