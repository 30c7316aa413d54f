"""A real PostgreSQL for a test: Debian's, unpacked at first use, on a socket in a short folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aviary.local.postgres import PostgresServer

USER = "ledger"


class Postgres:
    """A server that runs, and what reaches it."""

    def __init__(self, programs: Path, folder: Path, library_path: str) -> None:
        self.environment: Mapping[str, str] = {
            "PSQL": str(programs / "psql"),
            "LD_LIBRARY_PATH": library_path,
            "PGHOST": str(folder),
            "PGUSER": USER,
            "PGDATABASE": "postgres",
        }
        """What a program has to be started with."""

    def ask(self, statement: str) -> str:
        """The first column of the first row."""
        return asked(statement, {**os.environ, **self.environment})


def asked(statement: str, env: Mapping[str, str]) -> str:
    """What `psql` prints: values alone, the statements as one transaction."""
    command = [env["PSQL"], "-X", "-q", "-At", "-1", "-v", "ON_ERROR_STOP=1", "-c", statement]
    done = subprocess.run(command, env=dict(env), capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.strip())
    return done.stdout.strip()


@contextmanager
def postgres() -> Iterator[Postgres]:
    """A server with an empty database, which ends with the test.

    Raises:
        DebianError: its packages can't be had here; the text says why.
    """
    server = PostgresServer(USER)
    try:
        server.start()
        yield Postgres(server.programs, server.folder, server.library_path)
    finally:
        server.stop()
