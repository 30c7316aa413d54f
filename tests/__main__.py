"""Run groups of tests, some side by side: `python -m tests [--part …] [arguments of pytest]`.

Each group is a pytest of its own, with a folder for temporary files and ports of its own. A group
that failed is printed whole. Arguments that name tests are run as they stand, by one pytest.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from pathlib import Path
from threading import Event
from typing import Final

import pytest

from aviary.local import debian
from aviary.local.kubernetes.programs import to_build
from aviary.local.ports import RANGE
from tests.groups import GROUPS, ROOT, Part, arguments, groups_of
from tests.tally import Result, Tally, exit_code, summary

FIRST_PORT: Final = 15_000
PORTS_EACH: Final = 1_150  # of fifteen groups, below what the kernel gives away
INTERRUPTED: Final = 128 + signal.SIGINT
PREPARED: Final = {"kubernetes": ((sys.executable, "-m", "aviary.local.kubernetes"),)}
"""What is done before the tests of a group: a build that takes longer than any test may."""
_PYTEST: Final = (sys.executable, "-m", "pytest")
_NO_BYTECODE: Final = "PYTHONDONTWRITEBYTECODE"
_COVERAGE: Final = (sys.executable, "-m", "coverage")


@dataclass
class Options:
    """What the command line says."""

    jobs: int = len(os.sched_getaffinity(0)) + 1  # each waits for its servers half of the time
    group: list[str] = field(default_factory=list)
    part: Part | None = None


@dataclass(frozen=True)
class Run:
    """One run of all groups."""

    folder: Path
    """One folder for each group is made in it."""
    passed_on: Sequence[str]
    """Arguments of pytest."""
    ending: Event
    """Set when the run was interrupted: what runs is to end."""
    part: Part | None = None
    """Of each group; None: all of it."""

    def of(self, group: str) -> Result:
        """Run a group to its end."""
        folder = self.folder / group
        (folder / "tmp").mkdir(parents=True)
        command = (
            *(*_PYTEST, *arguments(group, self.part), *self.passed_on),
            *("-o", f"cache_dir=.pytest_cache/{group}", f"--junitxml={folder / 'results.xml'}"),
            *(["--cov-report="] if any(map(_is_coverage, self.passed_on)) else []),
        )
        began, cpu_s, code = time.monotonic(), 0.0, 0
        with (folder / "output.txt").open("wb") as output:
            for each in (*PREPARED.get(group, ()), command):
                process = subprocess.Popen(
                    each,
                    cwd=ROOT,
                    env=_environment(group, folder),
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # a terminal's Ctrl-C is for us, and we pass it on
                )
                cpu_s += self._wait(process)
                code = process.returncode
        wall_s = time.monotonic() - began
        return Result(group, code, Tally.read(folder / "results.xml"), wall_s, cpu_s)

    def _wait(self, process: subprocess.Popen[bytes]) -> float:
        """Wait for its end; the CPU seconds of it and of all that it waited for."""
        asked = False
        while True:
            pid, status, usage = os.wait4(process.pid, os.WNOHANG)
            if pid:
                process.returncode = os.waitstatus_to_exitcode(status)
                return usage.ru_utime + usage.ru_stime
            if self.ending.wait(0.1) and not asked:
                process.send_signal(signal.SIGINT)
                asked = True
            elif asked:
                time.sleep(0.1)


def _is_coverage(word: str) -> bool:
    return word.partition("=")[0] == "--cov"


def _environment(group: str, folder: Path) -> dict[str, str]:
    first = FIRST_PORT + PORTS_EACH * list(GROUPS).index(group)
    # Images of continuous integration forbid it, and then each of hundreds of processes compiles.
    given = {name: value for name, value in os.environ.items() if name != _NO_BYTECODE}
    return {
        **given,
        "TMPDIR": str(folder / "tmp"),
        "COVERAGE_FILE": str(folder / "coverage"),
        RANGE: f"{first}-{first + PORTS_EACH - 1}",
    }


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests", allow_abbrev=False)
    parser.add_argument("--jobs", type=int, help="groups at the same time (default: cores + 1)")
    parser.add_argument(
        "--group", choices=GROUPS, action="append", help="only this group (repeatable)"
    )
    parser.add_argument("--part", choices=list(Part), type=Part, help="of each group: a part of it")
    told, passed_on = parser.parse_known_args(namespace=Options())
    # A shell that begins it in the background has interrupts ignored, also by all that it begins.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    os.chdir(ROOT)
    if any(names_tests(word) for word in passed_on):
        os.execv(sys.executable, [*_PYTEST, *passed_on])
    folder = Path(tempfile.mkdtemp(prefix="aviary-tests-"))
    folder.chmod(0o711)  # some tests are done by another account
    groups = groups_of(told.part) if told.part else list(GROUPS)
    if told.group:
        groups = [group for group in groups if group in told.group]
    code = run_all(Run(folder, passed_on, Event(), told.part), groups, told.jobs)
    if code == pytest.ExitCode.OK:
        shutil.rmtree(folder)
    else:
        _say(f"what each group wrote: {folder}")
    return code


def names_tests(word: str) -> bool:
    """Whether an argument of pytest is a file, a folder or a test."""
    return not word.startswith("-") and (ROOT / word.partition("::")[0]).exists()


def run_all(run: Run, groups: Sequence[str], jobs: int) -> int:
    """Run the groups, and print what there is to say; the exit code for all of them."""
    began = time.monotonic()
    results: list[Result] = []
    _say(f"==> {len(groups)} groups of tests, {jobs} at a time")
    if "kubernetes" in groups and (minutes := to_build(debian.cache_folder())):
        _say(f"==> kubernetes: built from source first, once: {minutes} minutes of two free cores")
    with ThreadPoolExecutor(jobs) as pool:
        running = [pool.submit(run.of, group) for group in groups]
        try:
            for done in as_completed(running):
                results.append(done.result())
                output = (run.folder / results[-1].group / "output.txt").read_text(errors="replace")
                _say(results[-1].told(output))
        except KeyboardInterrupt:
            run.ending.set()
            pool.shutdown(cancel_futures=True)
            return INTERRUPTED
    _report_coverage([run.folder / group / "coverage" for group in groups])
    _say(summary(results, time.monotonic() - began))
    return exit_code(results)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _report_coverage(files: Sequence[Path]) -> None:
    """One table over all groups; the data is left where `coverage` looks for it."""
    found = [str(file) for file in files if file.exists()]
    if found:  # where it was asked for
        subprocess.run([*_COVERAGE, "combine", "--quiet", *found], check=True)
        subprocess.run([*_COVERAGE, "report"], check=True)


if __name__ == "__main__":
    sys.exit(main())
