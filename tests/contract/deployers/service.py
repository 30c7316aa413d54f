"""A small service for tests of deployers, without any package: it answers with its version.

    python -I -S service.py PORT VERSION [TROUBLE FLAG]

While the file FLAG is there, it has the trouble.
"""

import os
import socket
import sys


def main() -> None:
    port, version, *trouble = sys.argv[1:]

    def in_trouble(kind: str) -> bool:
        return bool(trouble) and trouble[0] == kind and os.path.exists(trouble[1])  # noqa: PTH110

    if in_trouble("crash_loop"):
        sys.exit("no database at db:5432")
    server = socket.create_server(("127.0.0.1", int(port)))
    while True:
        connection, _ = server.accept()
        with connection:
            asked = connection.recv(4096).split(b"\r\n")[0]
            body = str(os.getpid()) if b"/pid" in asked else version
            status = "503 Not Yet" if in_trouble("probe_failed") else "200 OK"
            head = f"HTTP/1.1 {status}\r\ncontent-length: {len(body)}\r\nconnection: close"
            connection.sendall(f"{head}\r\n\r\n{body}".encode())


if __name__ == "__main__":
    main()
