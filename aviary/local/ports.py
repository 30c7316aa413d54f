"""Free loopback ports."""

from __future__ import annotations

import random
import socket
from pathlib import Path
from typing import Final

LOOPBACK: Final = "127.0.0.1"
_EPHEMERAL: Final = Path("/proc/sys/net/ipv4/ip_local_port_range")
_LOWEST: Final = 15_000
_TRIES: Final = 1_000


class FreePorts:
    """Hands out loopback ports that nobody listens on, each once.

    They lie below the kernel's ephemeral range: no outgoing connection takes one between the
    moment it is chosen and the moment the child listens on it.
    """

    def __init__(self) -> None:
        self._given: set[int] = set()
        self._random = random.SystemRandom()
        self._end = _first_ephemeral()

    def take(self) -> int:
        """One port.

        Raises:
            OSError: a thousand tries found none.
        """
        for _ in range(_TRIES):
            port = self._random.randrange(_LOWEST, self._end)
            if port not in self._given and is_free(port):
                self._given.add(port)
                return port
        raise OSError(f"no free port found on {LOOPBACK} from {_LOWEST} to {self._end}")


def is_free(port: int) -> bool:
    """Whether nobody listens on the port, on loopback or on all addresses."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((LOOPBACK, port))
            probe.listen(1)
        except OSError:
            return False
        return True


def _first_ephemeral() -> int:
    try:
        first = int(_EPHEMERAL.read_text().split()[0])
    except FileNotFoundError:
        return 32_768
    # A machine may have widened the range to all ports: then any free port has to do.
    return first if first > _LOWEST + 1_000 else 60_000
