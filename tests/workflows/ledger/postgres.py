"""A real PostgreSQL for a test: Debian's, unpacked at first use, on a socket in a short folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from aviary.local.unpacked import environment, unpacked

USER = "ledger"
_NOBODY = 65_534
_PATIENCE_S = 120


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
    root = unpacked("postgresql", "postgresql")
    (programs,) = root.glob("usr/lib/postgresql/*/bin")
    env = dict(environment(root))
    with tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True) as name:
        folder, data = Path(name), Path(name) / "data"
        # It refuses to run as root.
        whom = _NOBODY if os.geteuid() == 0 else None
        if whom is not None:
            shutil.chown(folder, whom, whom)
        init = [str(programs / "initdb"), "-D", str(data), "-U", USER, "-A", "trust", "-N"]
        init.append("--no-locale")
        subprocess.run(
            init, env=env, cwd=folder, check=True, capture_output=True, user=whom, group=whom
        )
        log = (folder / "log").open("wb")
        serve = [str(programs / "postgres"), "-D", str(data), "-k", name, "-h", "", "-F"]
        server = subprocess.Popen(
            serve, env=env, cwd=folder, stdout=log, stderr=log, user=whom, group=whom
        )
        try:
            ready = [str(programs / "pg_isready"), "-h", name, "-t", str(_PATIENCE_S)]
            while subprocess.run(ready, env=env, check=False, capture_output=True).returncode:
                if server.poll() is not None:
                    raise RuntimeError((folder / "log").read_text())
            yield Postgres(programs, folder, env["LD_LIBRARY_PATH"])
        finally:
            server.send_signal(signal.SIGINT)
            server.wait()
            log.close()
