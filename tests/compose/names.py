"""A name server that knows nobody, for containers that reach none.

Docker asks one for each name that is no container's, and programs do ask for such names (gRPC for a
service's configuration): without an answer each of them waits until it gives up.
"""

from __future__ import annotations

import asyncio
from typing import Final, cast

_HEAD: Final = 12
_NO_SUCH_NAME: Final = b"\x81\x83"
_ONE_QUESTION: Final = b"\x00\x01" + bytes(6)


class NoNames(asyncio.DatagramProtocol):
    """Answers each question with NXDOMAIN."""

    def __init__(self) -> None:
        self._transport: asyncio.DatagramTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep what answers are sent by."""
        # Not checked: the one that sockets have is no subclass of it.
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """Answer, where it is a question at all."""
        if self._transport is not None and len(data) > _HEAD:
            end = data.find(b"\x00", _HEAD) + 5  # type and class follow the name
            question = data[_HEAD:end]
            self._transport.sendto(data[:2] + _NO_SUCH_NAME + _ONE_QUESTION + question, addr)


async def answer(address: str, port: int = 53) -> asyncio.DatagramTransport:
    """Begin to answer at an address, until it is closed."""
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(NoNames, local_addr=(address, port))
    return transport
