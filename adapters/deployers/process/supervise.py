"""Runs one instance, and starts it again when it ends; a program of its own, without any package.

    python supervise.py FOLDER

FOLDER has `spec.json`; what becomes of the instance stands in `status.json`, replaced as a whole,
and its output in `log`. It goes on in the background once the status is there. On SIGTERM it tells
the instance to end, waits for its grace, kills its group, and ends.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

_ENDING = {signal.SIGTERM, signal.SIGINT}
_SIGNALS = {*_ENDING, signal.SIGCHLD}
_FIRST_PAUSE, _LONGEST_PAUSE = 0.5, 30.0
"""Seconds between an end and the next start, doubled with each that follows soon."""
_LONG = 60.0
"""Seconds after which an end is no part of a crash loop any more."""
_LOG_MOST, _LOG_KEPT = 16_000_000, 1_000_000
_SECRET_MOST = 64 * 1024


class Supervisor:
    """One instance."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._spec: dict[str, Any] = json.loads((folder / "spec.json").read_text())
        self._log = folder / "log"
        self._status: dict[str, Any] = {
            "supervisor": os.getpid(),
            "supervisor_since": _began(os.getpid()),
            "pid": None,
            "since": None,
            "started_at": None,
            "failures": 0,
            "exit": None,
            "error": "",
            "ended": False,
        }

    def run(self) -> None:
        """Until it is told to end; of a command that runs once, until that has ended."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)
        self.write()
        pause = _FIRST_PAUSE
        while True:
            started = time.monotonic()
            child = self._start()
            ending = child is not None and self._wait(child)
            lasted = time.monotonic() - started
            if child is not None:
                self._status.update(pid=None, since=None, exit=_code(child.returncode))
            if ending or self._spec["once"]:
                break
            again = lasted > _LONG
            pause = _FIRST_PAUSE if again else pause
            self._status["failures"] = 1 if again else self._status["failures"] + 1
            self.write()
            if self._pause(pause):
                break
            pause = min(2 * pause, _LONGEST_PAUSE)
        self._status["ended"] = True
        self.write()

    def write(self) -> None:
        """Replace the status."""
        fresh = self._folder / "status.new"
        fresh.write_text(json.dumps(self._status))
        fresh.rename(self._folder / "status.json")

    def _start(self) -> subprocess.Popen[bytes] | None:
        try:
            with self._log.open("ab") as log:
                child = subprocess.Popen(  # noqa: S603 - it is what the recipe says
                    self._spec["command"],
                    cwd=self._spec["cwd"],
                    env=self._environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    start_new_session=True,
                    preexec_fn=_unblock,  # noqa: PLW1509 - there are no threads
                )
        except (OSError, ValueError) as error:
            self._status.update(error=str(error), exit=None)
            return None
        self._status.update(
            pid=child.pid, since=_began(child.pid), started_at=time.time(), error=""
        )
        self.write()
        return child

    def _environment(self) -> dict[str, str]:
        found = dict(self._spec["env"])
        for name, path in self._spec["env_from"].items():
            with Path(path).open() as file:
                found[name] = file.read(_SECRET_MOST).rstrip("\n")
        return found

    def _wait(self, child: subprocess.Popen[bytes]) -> bool:
        """Wait for its end; True: it was told to end."""
        while child.poll() is None:
            told = signal.sigtimedwait(_SIGNALS, 1.0)
            if told is not None and told.si_signo in _ENDING:
                self._end(child)
                return True
            self._shorten_log()
        return False

    def _end(self, child: subprocess.Popen[bytes]) -> None:
        _signal_group(child.pid, signal.SIGTERM)
        deadline = time.monotonic() + self._spec["grace"]
        while child.poll() is None and (left := deadline - time.monotonic()) > 0:
            signal.sigtimedwait({signal.SIGCHLD}, min(left, 1.0))
        # What it has started goes with it.
        _signal_group(child.pid, signal.SIGKILL)
        child.wait()

    def _pause(self, seconds: float) -> bool:
        """Wait; True: it was told to end."""
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            told = signal.sigtimedwait(_SIGNALS, left)
            if told is not None and told.si_signo in _ENDING:
                return True
        return False

    def _shorten_log(self) -> None:
        if self._log.stat().st_size > _LOG_MOST:
            with self._log.open("r+b") as log:
                log.seek(-_LOG_KEPT, os.SEEK_END)
                (self._folder / "log.old").write_bytes(log.read())
                log.truncate(0)


def _unblock() -> None:
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _signal_group(group: int, what: signal.Signals) -> None:
    try:
        os.killpg(group, what)
    except ProcessLookupError:
        return


def _began(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[19])


def _code(returned: int) -> int:
    return returned if returned >= 0 else 128 - returned


def main() -> None:
    """Go on in the background."""
    folder = Path(sys.argv[1])
    if os.fork() == 0:
        Supervisor(folder).run()
        os._exit(0)
    deadline = time.monotonic() + 30
    while not (folder / "status.json").exists():
        if time.monotonic() > deadline:
            sys.exit("no status came")
        time.sleep(0.005)


if __name__ == "__main__":
    main()
