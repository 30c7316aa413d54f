"""One instance of a service as a process of its own: prints its port, answers with its version."""

from __future__ import annotations

import asyncio
import sys

from tests.contract.routers.wire import serve_version


async def main(version: str) -> None:
    """Serve until killed."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await serve_version(reader, writer, version)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    sys.stdout.write(f"{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    await server.serve_forever()


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
