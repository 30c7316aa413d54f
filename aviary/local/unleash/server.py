"""One Unleash, its database, and tokens for it."""

from __future__ import annotations

import os
import secrets
import subprocess
import time
from pathlib import Path
from typing import Final

import httpx

from aviary.local import npm
from aviary.local.ports import LOOPBACK
from aviary.local.postgres import PostgresServer
from aviary.local.process import die_with

PINS: Final = Path(__file__).parent
ENVIRONMENT: Final = "development"
"""One of the two that each project has at first."""
_USER: Final = "unleash"
_READY_WITHIN_S: Final = 300.0
_ASK_EVERY_S: Final = 0.1
_ANSWERS_WITHIN_S: Final = 5.0


def program() -> Path:
    """The script that Node.js runs; installed at first use, which takes minutes.

    Raises:
        NpmError: it can't be had here.
    """
    return npm.installed("unleash", PINS) / "node_modules/unleash-server/dist/server.js"


class UnleashServer:
    """A server on a port of this machine, with an empty database.

    Both end when this process does, however that ends.

    Args:
        folder: for its log.
        port: a free one.

    Raises:
        NpmError, DebianError: its packages can't be had here; the text says why.
    """

    def __init__(self, folder: Path, port: int) -> None:
        self._program = program()
        self._database = PostgresServer(_USER)
        self._log = folder / "unleash.log"
        self._port = port
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"http://{LOOPBACK}:{port}"
        self.token = f"*:*.{secrets.token_hex(16)}"
        """An admin API token."""
        self.client_token = f"*:{ENVIRONMENT}.{secrets.token_hex(16)}"
        """A backend API token of `ENVIRONMENT`."""

    def start(self) -> None:
        """Start both, and wait until it answers: from 10 s to minutes on a busy machine.

        Raises:
            RuntimeError: one of them ended, or it was not ready in time.
        """
        self._database.start()
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - node
                [npm.node(), str(self._program)],
                env={**os.environ, **self._settings()}, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True,
                preexec_fn=die_with(os.getpid()),  # noqa: PLW1509 - one system call
            )  # fmt: skip
        until = time.monotonic() + _READY_WITHIN_S
        while not self._is_ready():
            if self._process.poll() is not None or time.monotonic() > until:
                text = self._log.read_text(errors="replace")[-2_000:]
                raise RuntimeError(
                    f"unleash: ended, or not ready in {_READY_WITHIN_S:g} s:\n{text}"
                )
            time.sleep(_ASK_EVERY_S)

    def stop(self) -> None:
        """End both."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None
        self._database.stop()

    def _settings(self) -> dict[str, str]:
        return {
            "NODE_ENV": "production",
            "HTTP_HOST": LOOPBACK,
            "HTTP_PORT": str(self._port),
            "DATABASE_HOST": str(self._database.folder),
            "DATABASE_NAME": "postgres",
            "DATABASE_USERNAME": _USER,
            "DATABASE_PASSWORD": "",
            "DATABASE_SSL": "false",
            "INIT_ADMIN_API_TOKENS": self.token,
            "INIT_CLIENT_API_TOKENS": self.client_token,
            "CHECK_VERSION": "false",
            "SEND_TELEMETRY": "false",
            "LOG_LEVEL": "warn",
        }

    def _is_ready(self) -> bool:
        try:
            return httpx.get(f"{self.url}/health", timeout=_ANSWERS_WITHIN_S).is_success
        except httpx.HTTPError:
            return False
