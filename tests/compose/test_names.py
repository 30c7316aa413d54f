"""The name server of containers that reach none: it answers at once, and knows nobody."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from tests.compose import names

QUESTION = b"\x0c_grpc_config\x08temporal\x00\x00\x10\x00\x01"


async def asked(message: bytes) -> bytes:
    """What it answers; empty where it says nothing within a second."""
    loop = asyncio.get_running_loop()
    server = await names.answer("127.0.0.1", 0)
    client = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    client.setblocking(False)
    try:
        client.connect(server.get_extra_info("sockname"))
        await loop.sock_sendall(client, message)
        async with asyncio.timeout(1):
            return await loop.sock_recv(client, 512)
    except TimeoutError:
        return b""
    finally:
        client.close()
        server.close()


async def test_it_says_of_each_name_that_there_is_none() -> None:
    said = await asked(b"\x12\x34\x01\x00\x00\x01" + bytes(6) + QUESTION)
    number, flags, *counts = struct.unpack(">6H", said[:12])
    assert (number, flags & 0x8000, flags & 0xF) == (0x1234, 0x8000, 3), "an answer: NXDOMAIN"
    assert counts == [1, 0, 0, 0]
    assert said[12:] == QUESTION


@pytest.mark.parametrize("message", [b"x", bytes(12)])
async def test_what_is_no_question_has_no_answer(message: bytes) -> None:
    assert await asked(message) == b""
