"""Every test is in one group and one part of it, and what the groups came to is told truly."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from threading import Event

import pytest

from tests.__main__ import INTERRUPTED, Run, names_tests, run_all
from tests.groups import (
    ACCEPTANCE,
    GROUPS,
    ROOT,
    SPLIT,
    Part,
    arguments,
    group_of,
    groups_of,
    is_below,
)

FILES = sorted((ROOT / "tests").rglob("test_*.py"))
GOOD = """
import os, pytest
from aviary.local.ports import FreePorts

def test_has_its_own_folder_and_ports(tmp_path):
    print("says", os.environ["AVIARY_PORTS"], tmp_path, FreePorts().take())

@pytest.mark.skip(reason="not here")
def test_skipped():
    pass

@pytest.mark.long
@pytest.mark.filterwarnings("ignore")
def test_of_a_long_matrix():
    assert False
"""
BAD = """
import pytest

def test_fails():
    assert "a" == "b"

@pytest.fixture
def broken():
    raise OSError("no")

def test_errs(broken):
    pass
"""
DIES = """
import os

def test_dies():
    os.abort()
"""
HANGS = """
import time, pytest

@pytest.fixture
def server(request):
    yield
    (request.path.parent / "ended").touch()

def test_hangs(server, request):
    (request.path.parent / "began").touch()
    time.sleep(600)
"""
INTERRUPT = """
import sys
from tests import groups
groups.GROUPS.clear()
groups.GROUPS["hangs"] = (sys.argv.pop(),)
from tests.__main__ import main
sys.exit(main())
"""


@pytest.fixture
def written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, tuple[str, ...]]:
    """Groups of one file each, in place of ours."""
    made: dict[str, tuple[str, ...]] = {}
    for name, text in {"good": GOOD, "bad": BAD, "dies": DIES}.items():
        file = tmp_path / name / f"test_{name}.py"
        file.parent.mkdir()
        file.write_text(text)
        made[name] = (str(file),)
    monkeypatch.setattr("tests.groups.GROUPS", made)
    monkeypatch.setattr("tests.__main__.GROUPS", made)
    return made


def _run(tmp_path: Path, *groups: str, more: tuple[str, ...] = ()) -> int:
    return run_all(Run(tmp_path / "run", ["-ra", *more], Event()), groups, jobs=2)


def test_every_file_of_tests_is_run_by_the_group_that_it_belongs_to() -> None:
    run = {file: [group for group in GROUPS if _runs(file, arguments(group))] for file in FILES}
    assert run == {file: [group_of(file)] for file in FILES}


def test_every_file_is_run_by_one_part_or_split_between_both() -> None:
    """Where it is split, the mark says which: `test_of_a_split_file_each_part_runs_its_own`."""
    for file in FILES:
        group = group_of(file)
        assert group is not None
        run = [part for part in Part if _runs(file, arguments(group, part))]
        if is_below(file, ACCEPTANCE):
            assert run == [Part.ACCEPTANCE], file
        else:
            assert run == (list(Part) if is_below(file, SPLIT) else [Part.TEST]), file
        assert all(group in groups_of(part) for part in run)


def test_a_part_has_no_group_without_tests_and_no_other_group_s() -> None:
    for part in Part:
        assert groups_of(part) == [
            group for group in GROUPS if any(_runs(file, arguments(group, part)) for file in FILES)
        ]
        for group in groups_of(part):
            mine = [file for file in FILES if _runs(file, arguments(group, part))]
            assert {group_of(file) for file in mine} == {group}


def test_what_is_named_is_there_and_named_once() -> None:
    assert all((ROOT / path).exists() for path in (*ACCEPTANCE, *SPLIT))
    named = [*ACCEPTANCE, *SPLIT]
    assert len(named) == len(set(named))
    assert not [one for one in SPLIT if is_below(ROOT / one, ACCEPTANCE)]


def test_of_a_split_file_each_part_runs_its_own() -> None:
    """Of the deployers: Docker's in one part, the others' in the other, none in both or neither."""
    found = {
        part: set(_collected(*arguments("deployers", part), "-k", "test_fence")) for part in Part
    }
    assert not found[Part.TEST] & found[Part.ACCEPTANCE]
    assert found[Part.TEST] | found[Part.ACCEPTANCE] == set(
        _collected(*arguments("deployers"), "-k", "test_fence")
    )
    assert {"docker" in test for test in found[Part.TEST]} == {False}
    assert {"docker" in test for test in found[Part.ACCEPTANCE]} == {True}


def _collected(*words: str) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "-q", "-p", "no:cacheprovider", *words],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return [line for line in done.stdout.splitlines() if "::" in line]


def _runs(file: Path, words: list[str]) -> bool:
    """Whether pytest, told these, looks into a file."""
    left_out = [ROOT / word.partition("=")[2] for word in words if word.startswith("--ignore")]
    paths = [ROOT / word for word in words[: words.index("-m")] if not word.startswith("--")]
    return any(map(file.is_relative_to, paths)) and not any(map(file.is_relative_to, left_out))


def test_a_failure_and_a_death_are_told_whole_and_fail_the_run(
    tmp_path: Path, written: dict[str, tuple[str, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    assert _run(tmp_path, *written) == pytest.ExitCode.TESTS_FAILED
    said = capsys.readouterr().out
    assert "==> good: 1 passed, 0 failed, 1 skipped" in said
    assert "not here" in said
    assert "==> bad: 0 passed, 2 failed, 0 skipped" in said
    assert "assert 'a' == 'b'" in said
    assert f"==> dies: came to no end: exit code {-signal.SIGABRT}" in said
    assert "test_dies" in said
    assert "\n1 passed, 2 failed, 1 skipped in " in said
    assert {"failed: bad, dies", "failed: dies, bad"} & set(said.splitlines())


def test_groups_have_their_own_folders_and_ports(
    tmp_path: Path, written: dict[str, tuple[str, ...]]
) -> None:
    written["other"] = written["good"]
    assert _run(tmp_path, "good", "other", more=("-s",)) == 0
    seen = {}
    for group in ("good", "other"):
        output = (tmp_path / "run" / group / "output.txt").read_text()
        ports, folder, taken = output.partition("says ")[2].split()[:3]
        first, last = map(int, ports.split("-"))
        assert first <= int(taken) <= last
        assert Path(folder).is_relative_to(tmp_path / "run" / group / "tmp")
        seen[group] = range(first, last + 1)
    assert not set(seen["good"]) & set(seen["other"])


@pytest.mark.parametrize(
    ("words", "code"), [(("-k", "own_folder"), 0), (("-k", "no_such_test"), 5)]
)
def test_a_group_with_nothing_to_run_is_no_failure_but_all_are(
    tmp_path: Path, written: dict[str, tuple[str, ...]], words: tuple[str, ...], code: int
) -> None:
    assert _run(tmp_path, *written, more=words) == code


def test_an_interrupt_ends_the_groups_in_good_order(tmp_path: Path) -> None:
    (tmp_path / "test_hangs.py").write_text(HANGS)
    with subprocess.Popen(
        [sys.executable, "-c", INTERRUPT, str(tmp_path / "test_hangs.py")],
        cwd=ROOT,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.DEVNULL,
    ) as run:
        end = time.monotonic() + 120
        while not (tmp_path / "began").exists():
            assert time.monotonic() < end
            time.sleep(0.05)
        run.send_signal(signal.SIGINT)
        assert run.wait() == INTERRUPTED
    assert (tmp_path / "ended").exists()


def test_what_names_tests_is_run_by_itself() -> None:
    assert names_tests("tests/unit")
    assert names_tests("tests/test_imports.py::test_all_packages_are_ours")
    assert not any(names_tests(word) for word in ("-k", "plan", "--ignore=tests/unit"))
