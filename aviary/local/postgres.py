"""PostgreSQL of Debian's packages, unpacked at first use: one server on a socket in a folder."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import Final

from aviary.local.process import die_with
from aviary.local.unpacked import environment, unpacked

_NOBODY: Final = 65_534
_PATIENCE_S: Final = 120


class PostgresServer:
    """A server with an empty database `postgres`, in a folder of its own that goes with it.

    It ends when this process does, however that ends; by `kill -9` the folder is left.

    Settings are for tests and demonstrations: whoever reaches the socket is let in, and nothing is
    kept after a power cut.

    Args:
        user: name of its administrator.

    Raises:
        DebianError: its packages can't be had here; the text says why.
    """

    def __init__(self, user: str) -> None:
        root = unpacked("postgresql", "postgresql")
        (self.programs,) = root.glob("usr/lib/postgresql/*/bin")
        self.user = user
        self._env = dict(environment(root))
        # A short path: that of a socket has at most 107 characters.
        self._home = tempfile.TemporaryDirectory(prefix="pg-", ignore_cleanup_errors=True)
        self.folder = Path(self._home.name)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def library_path(self) -> str:
        """What its programs have to find their libraries in."""
        return self._env["LD_LIBRARY_PATH"]

    @property
    def log(self) -> str:
        """What it has said."""
        return (self.folder / "log").read_text(errors="replace")

    def start(self) -> None:
        """Start it, and wait until it answers.

        Raises:
            RuntimeError: it ended; the text is its log.
        """
        data = self.folder / "data"
        # It refuses to run as root.
        whom = _NOBODY if os.geteuid() == 0 else None
        if whom is not None:
            shutil.chown(self.folder, whom, whom)
        init = [str(self.programs / "initdb"), "-D", str(data), "-U", self.user, "-A", "trust"]
        subprocess.run(  # noqa: S603 - initdb
            [*init, "-N", "--no-locale"],
            env=self._env, cwd=self.folder, check=True, capture_output=True, user=whom, group=whom,
        )  # fmt: skip
        where = ["-D", str(data), "-k", str(self.folder), "-h", "", "-F"]
        with (self.folder / "log").open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - postgres
                [str(self.programs / "postgres"), *where],
                env=self._env, cwd=self.folder, stdout=log, stderr=log, user=whom, group=whom,
                stdin=subprocess.DEVNULL, start_new_session=True,
                # At once, and without leaving its shared memory behind.
                preexec_fn=die_with(os.getpid(), by=signal.SIGQUIT),  # noqa: PLW1509 - one syscall
            )  # fmt: skip
        ready = [str(self.programs / "pg_isready"), "-h", str(self.folder), "-t", str(_PATIENCE_S)]
        while subprocess.run(ready, env=self._env, check=False, capture_output=True).returncode:  # noqa: S603 - pg_isready
            if self._process.poll() is not None:
                raise RuntimeError(self.log)

    def stop(self) -> None:
        """End it, and take its folder away."""
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)
            self._process.wait()
            self._process = None
        self._home.cleanup()
