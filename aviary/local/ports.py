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
_BLOCKS_SHARE: Final = 4
"""Of all ports each so many-th is one of a block."""
_BLOCKS: Final = 8


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
        self._all = _range(os.environ.get(RANGE))
        self._range = self._all[: len(self._all) - len(self._all) // _BLOCKS_SHARE]

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
        first, last = self._all[0], self._all[-1]
        raise OSError(f"no free port found on {LOOPBACK} from {first} to {last}")

    def block(self) -> Block:
        """Ports in a row that are given out one by one by somebody else.

        They are none of those that `take` gives, and no other program has the same block.

        Raises:
            OSError: all blocks are taken.
        """
        ports = self._all[len(self._range) :]
        size = len(ports) // _BLOCKS
        for number in self._random.sample(range(_BLOCKS), _BLOCKS) if size > 1 else ():
            block = ports[number * size : (number + 1) * size]
            if (held := _held(block[0])) is not None:
                return Block(block[1:], held)
        first, last = self._all[0], self._all[-1]
        raise OSError(f"no free ports in a row found on {LOOPBACK} from {first} to {last}")


class Block:
    """Ports in a row, for as long as it is not closed. Its first port says that it is taken.

    Args:
        ports: that may be used.
        held: listens on the port before them.
    """

    def __init__(self, ports: range, held: socket.socket) -> None:
        self.ports = ports
        self._held = held

    def close(self) -> None:
        """Let others have it."""
        self._held.close()


def _held(port: int) -> socket.socket | None:
    """Somebody who listens on a port; None where another does."""
    held = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        held.bind((LOOPBACK, port))
        held.listen(1)
    except OSError:
        held.close()
        return None
    return held


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
