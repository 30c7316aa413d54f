"""Whatever is in a file of a megabyte: an answer of ordinary size, in seconds and little memory."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from io import BytesIO
from itertools import pairwise
from pathlib import Path

import pytest

from aviary.channels import open_channels
from aviary.cli.failing import CommandError
from aviary.cli.judge_lines import lines_of
from aviary.settings import Settings, SettingsError
from schemas.catalog_check import nearest
from schemas.catalog_file import CatalogError, load_catalog, parse_catalog
from schemas.document import MOST_COMPLAINTS, read_yaml
from schemas.files import UnreadableError, read_bounded
from schemas.graph import find_cycles
from tests.unit.cli.conftest import ROOT, Run

MEGABYTE = 1_000_000
HEAD = "version: 1\ndefaults: {router: {kind: memory}, metrics: []}\n"
_RUN = """
import resource, sys
from aviary.cli import build_app
sys.argv = ["aviary", "validate", sys.argv[1]]
try:
    build_app()()
except SystemExit as end:
    code = end.code
took = resource.getrusage(resource.RUSAGE_SELF)
# Not its ru_maxrss, which begins with what the process that started this one has in memory.
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
print("peak", int(peak.split()[1]) // 1024, round(took.ru_utime + took.ru_stime), code)
"""


def _lines(line: str, count: int = 20_000) -> str:
    return "".join(line.format(at, (at + 1) % count) for at in range(count))


BOMBS: dict[str, Callable[[], str]] = {
    "nested lists": lambda: "[" * MEGABYTE,
    "nested mappings": lambda: "{a: " * (MEGABYTE // 4),
    "nested in blocks": lambda: "- " * (MEGABYTE // 2),
    "nested keys": lambda: "? " * (MEGABYTE // 2),
    "nested by aliases": lambda: (
        "a0: &a0 ["
        + "[" * 300
        + "]" * 301
        + "\n"
        + "".join(f"a{n}: &a{n} [[[[*a{n - 1}]]]]\n" for n in range(1, 30_000))
    ),
    "laughs": lambda: (
        "a0: &a0 [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]\n" for n in range(1, 60))
    ),
    "chains of merges": lambda: (
        "x0: &a0 {k0: 1}\n"
        + "".join(f"x{n}: &a{n} {{<<: *a{n - 1}, k{n}: 1}}\n" for n in range(1, 30_000))
    ),
    "merges of one": lambda: "x: &x {a: 1}\ny: {<<: [" + "*x, " * 200_000 + "]}\n",
    "aliased services": lambda: (
        HEAD
        + "services:\n  a: &a {strategy: nope}\n"
        + "".join(f"  s{n}: *a\n" for n in range(100_000))
    ),
    "as many as may be, all wrong": lambda: (
        HEAD
        + "services:\n  a: &a {dependson: b}\n"
        + "".join(f"  s{n}: *a\n" for n in range(19_000))
    ),
    "keys twice": lambda: HEAD + "services:\n" + "  a:\n" * (MEGABYTE // 5),
    "keys twice, far down": lambda: "{a: " * 900 + "{" + "a: b, " * 150_000,
    "keys that are numbers": lambda: HEAD + "services: {" + "1: ," * (MEGABYTE // 4) + "}\n",
    "unknown fields": lambda: (
        HEAD
        + "services:\n"
        + "".join(f"  s{n}: {{{', '.join(f'f{m}: 1' for m in range(100))}}}\n" for n in range(1000))
    ),
    "wrong metrics": lambda: (
        HEAD
        + "services:\n"
        + "".join(f"  s{n}: {{metrics: [{', '.join(['{kind: x}'] * 90)}]}}\n" for n in range(1000))
    ),
    "unknown names": lambda: (
        HEAD
        + "services:\n"
        + _lines("  service-number-{0}: {{depends_on: [service-nunber-{0}]}}\n", 14_000)
    ),
    "unknown names by an alias": lambda: (
        HEAD
        + "services:\n  s: {depends_on: &d ["
        + ", ".join(f"t{n}" for n in range(19_000))
        + "]}\n"
        + "".join(f"  t{n}: {{depends_on: *d}}\n" for n in range(40))
    ),
    "unknown strategies": lambda: (
        HEAD
        + "strategies:\n"
        + _lines("  strategy-{0}: {{steps: [5]}}\n", 900)
        + "services:\n"
        + _lines("  s{0}: {{strategy: strategy}}\n")
    ),
    "a long cycle": lambda: (
        HEAD + "cycles: refuse\nservices:\n" + _lines("  s{0}: {{depends_on: [s{1}]}}\n")
    ),
    "a long duration": lambda: (
        HEAD + "strategies: {s: {steps: [50], bake: " + "1h" * (MEGABYTE // 2 - 100) + "}}\n"
    ),
    "a long number": lambda: "version: " + "1" * MEGABYTE,
    "a long name": lambda: HEAD + "services: {a: {strategy: " + "x" * MEGABYTE + "}}\n",
    "a long tag": lambda: "version: !<" + "a" * MEGABYTE + "> 1\n",
    "colours": lambda: HEAD + 'services: {a: {strategy: "' + "\\e[31m" * 150_000 + '"}}\n',
    "empty lines": lambda: "\n" * MEGABYTE,
}


@pytest.mark.parametrize("name", BOMBS)
def test_validate_is_bounded(tmp_path: Path, name: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(BOMBS[name](), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", _RUN, path],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    megabytes, seconds, code = map(int, done.stdout.split()[-3:])
    assert (code, "Traceback" in done.stderr) == (2, False)
    assert megabytes < 200
    assert seconds < 10  # of this process alone, whatever else the machine does
    lines = done.stderr.splitlines()
    assert 0 < len(lines) <= 101
    assert max(map(len, lines)) < 8000
    assert "\x1b" not in done.stderr


@pytest.mark.parametrize(
    "written",
    [
        "0x" + "f" * 5000,
        "1" * 5000,
        "-0b" + "1" * 5000,
        "1" + ":1" * 5000,
        "1" + ":59" * 3000 + ".5",
        "12:30:45",
        "!!bool zz",
        '!!int ""',
        '!!float ""',
        "!!int 0x",
        "!!float 1" + ":59" * 300,
        "!!null zz",
        "!!binary aaaa",
        "!!timestamp zz",
        "!!set {a}",
        "!!omap [a]",
        ".inf",
        ".nan",
        "1e999",
        '"\\ud800"',
    ],
)
def test_no_scalar_is_a_fault_of_ours(written: str) -> None:
    """Each is a problem with a line and a field, or a value of another type."""
    with pytest.raises(CatalogError) as caught:
        parse_catalog(
            f"version: {written}\ndefaults: {{router: {{kind: memory}}}}\nservices: {{a: }}"
        )
    [problem] = caught.value.problems
    assert problem.line in {1, None}
    assert problem.expected
    assert len(str(problem)) < 1000


def test_times_stay_text() -> None:
    assert read_yaml("a: 12:30\nb: 1:30:00.5\nc: '1'\n").data == {
        "a": "12:30",
        "b": "1:30:00.5",
        "c": "1",
    }


def test_a_fault_names_the_field_that_was_read() -> None:
    [complaint] = read_yaml("services:\n  a:\n    depends_on: [x, !!int y]\n").complaints
    assert (complaint.line, complaint.path) == (3, ("services", "a", "depends_on", 1))
    assert complaint.value == "y"


def test_complaints_beyond_some_are_counted() -> None:
    document = read_yaml("a: 1\n" * 1000)
    assert (len(document.complaints), document.more) == (MOST_COMPLAINTS, 999 - MOST_COMPLAINTS)


def test_what_is_not_shown_is_a_number() -> None:
    with pytest.raises(CatalogError) as caught:
        parse_catalog(HEAD + "services:\n" + _lines("  s{0}: {{strategy: x}}\n", 4412), "c.yaml")
    lines = str(caught.value).splitlines()
    assert len(lines) == 101
    assert lines[-1] == "and 4,312 more problems"


def test_an_alias_is_read_once_and_its_fault_is_told_once() -> None:
    with pytest.raises(CatalogError) as caught:
        parse_catalog(f"{HEAD}services:\n  a: &a {{depend_on: [b]}}\n  b: *a\n  c: *a\n")
    assert [problem.path for problem in caught.value.problems] == ["services.a.depend_on"]


def test_a_file_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    path = tmp_path / "large"
    path.write_bytes(b"x" * 11)
    assert read_bounded(path, 11) == b"x" * 11
    with pytest.raises(UnreadableError, match=r"a file of at most 1e-05 MB"):
        read_bounded(path, 10)
    with pytest.raises(CatalogError, match="expected a file of at most 32 MB"):
        load_catalog(Path("/dev/zero"))
    with pytest.raises(CatalogError, match="a readable file"):
        load_catalog(tmp_path)
    with pytest.raises(CatalogError, match="a readable file"):
        load_catalog(Path("a\0b"))


def test_many_cycles_behind_a_long_way_are_found_once_each() -> None:
    count = 4000
    graph = {f"a{n:05}": [f"a{n + 1:05}"] for n in range(count)}
    graph[f"a{count:05}"] = [f"c{n:05}" for n in range(count)]
    for n in range(count):
        graph[f"c{n:05}"], graph[f"d{n:05}"] = [f"d{n:05}"], [f"c{n:05}"]
    cycles = find_cycles(graph)
    assert len(cycles) == count
    assert all(first < second for first, second in pairwise(map(min, cycles)))


def test_a_close_name_is_found_among_very_many() -> None:
    known = [f"service-number-{n}" for n in range(20_000)]
    assert nearest("service-nunber-777", known) == "; did you mean 'service-number-777'?"
    assert not nearest("x" * MEGABYTE, known)


def test_evidence_is_read_by_lines_of_ordinary_length() -> None:
    assert list(lines_of(BytesIO(b"{}\n{}"))) == [b"{}\n", b"{}"]
    with pytest.raises(CommandError, match=r"line 2: .line.: .* in at most 1,000,000 bytes"):
        list(lines_of(BytesIO(b"{}\n" + b"[" * 10_000_000)))


@pytest.mark.parametrize("command", [["plan", "-e"], ["release", "start", "-e"]])
def test_an_event_is_read_no_further_than_its_bound(
    run: Run, tmp_path: Path, command: list[str]
) -> None:
    catalog = tmp_path / "c.yaml"
    catalog.write_text(HEAD + "services: {a: }\n")
    result = run(*command, "/dev/zero", "-c", catalog)
    assert (result.exit_code, result.stdout) == (2, "")
    assert "--event: got '/dev/zero', expected a file of at most 4 MB" in result.stderr


def test_a_file_of_channels_is_read_no_further_than_its_bound(tmp_path: Path) -> None:
    large = tmp_path / "channels"
    with large.open("wb") as file:
        file.truncate(10**12)  # with nothing in it: the disk holds none of it
    for path, says in ((large, "at most 0.1 MB"), (Path("/dev/zero"), "a regular file")):
        with pytest.raises(SettingsError, match=f"AVIARY_NOTIFY_FILE: .*{says}"):
            open_channels(Settings.model_construct(notify_file=path))
