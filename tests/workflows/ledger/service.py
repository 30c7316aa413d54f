"""The service: version 1 writes `amount`, version 2 `amount_cents`. POST is a payment of 1.25.

python service.py VERSION PORT
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

VERSION = sys.argv[1]
PAY = {
    "1": "INSERT INTO payments (amount, by) VALUES (1.25, '1')",
    "2": "INSERT INTO payments (amount_cents, by) VALUES (125, '2')",
}[VERSION]
TOTAL = {
    "1": "SELECT count(*) || ' ' || round(sum(amount), 2) FROM payments",
    "2": "SELECT count(*) || ' ' || round(sum(amount_cents) / 100.0, 2) FROM payments",
}[VERSION]


class Handler(BaseHTTPRequestHandler):
    """GET is what there is of payments: how many, and the sum."""

    def do_GET(self) -> None:
        self._answer(TOTAL if self.path == "/total" else None)

    def do_POST(self) -> None:
        self._answer(PAY)

    def log_message(self, *args: object) -> None:
        """Say nothing."""

    def _answer(self, statement: str | None) -> None:
        status, text = 200, ""
        if statement is not None:
            command = [os.environ["PSQL"], "-X", "-q", "-At", "-c", statement]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            status, text = (500, done.stderr) if done.returncode else (200, done.stdout.strip())
        body = json.dumps({"version": VERSION, "said": text}).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


if __name__ == "__main__":
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[2])), Handler).serve_forever()
