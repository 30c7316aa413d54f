"""`aviary audit verify` over files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner, Result

from aviary.audit import gather
from aviary.cli import build_app
from tests.hostile import TEXTS
from tests.unit.audit.chains import chain_of, edited

WHOLE = chain_of(5)
HEAD = json.loads(WHOLE[-1])["chaindigest"]


def run(*words: str | Path) -> Result:
    return CliRunner().invoke(build_app(), ["audit", "verify", *map(str, words)])


def written(path: Path, records: list[bytes]) -> Path:
    path.write_bytes(b"\n".join(records) + b"\n")
    return path


def test_a_whole_file_is_whole_and_says_its_end(tmp_path: Path) -> None:
    file = written(tmp_path / "r1.audit.jsonl", [*WHOLE, WHOLE[2], b""])
    result = run(file, "--end", f"r1={HEAD}")
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == [
        f"release r1: 5 links, 1 copies, ended, last {HEAD}",
        "1 release: all whole",
    ]


def test_what_was_touched_is_named_with_its_place(tmp_path: Path) -> None:
    records = [WHOLE[0], edited(WHOLE[1], subject="payments"), *WHOLE[3:]]
    result = run(written(tmp_path / "a.jsonl", records))
    assert result.exit_code == 1
    assert "  missing link 2: 1 before dev.aviary.canary.changed.v1" in result.stdout
    assert "  changed link 1: dev.aviary.canary.changed.v1" in result.stdout
    assert "(a.jsonl:2)" in result.stdout
    assert result.stdout.endswith("1 release: 1 not whole\n")


def test_folders_are_those_of_reports_and_json_has_everything(tmp_path: Path) -> None:
    written(tmp_path / "r1.audit.jsonl", WHOLE[:-1])
    written(tmp_path / "r2.audit.jsonl", chain_of(2, release="r2"))
    (tmp_path / "r1.html").write_text("a report")
    result = run(tmp_path, "--format", "json")
    assert result.exit_code == 1
    answer: dict[str, Any] = json.loads(result.stdout)
    assert not answer["whole"]
    first, second = answer["releases"]
    assert (first["release"], first["ended"], first["links"]) == ("r1", False, 4)
    assert [one["kind"] for one in first["findings"]] == ["cut"]
    assert second["whole"]
    assert run(tmp_path, "--running").exit_code == 0


def test_one_release_of_many(tmp_path: Path) -> None:
    file = written(tmp_path / "a", [*WHOLE[:2], *chain_of(2, release="r2")])
    assert run(file, "--release", "r2").exit_code == 0
    result = run(file, "--release", "r3")
    assert result.exit_code == 4
    assert "none of its events is here" in result.stderr


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ([], "FILE: missing, expected files, or --topic"),
        (["nowhere"], "expected a readable file"),
        (["--end", "r1", "x"], "--end: got 'r1', expected RELEASE=DIGEST"),
        (["--end", f"r1={HEAD[:-1]}Z", "x"], "with 64 characters of hex"),
        (["--release", "../up", "x"], "--release"),
    ],
)
def test_what_is_asked_wrongly_is_said(words: list[str], text: str) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert text in result.stderr


def test_files_without_a_release_are_no_answer(tmp_path: Path) -> None:
    result = run(written(tmp_path / "a", [b'{"type": "x"}']))
    assert result.exit_code == 4
    assert "no event of a release among 1 records" in result.stderr


def test_lines_and_records_have_a_bound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = written(tmp_path / "a", WHOLE)
    monkeypatch.setattr(gather, "LINKS_MOST", 4)
    assert "expected at most 4 records" in run(file).stderr
    monkeypatch.setattr(gather, "LINE_BYTES", 100)
    result = run(file)
    assert result.exit_code == 2
    assert "expected one event in at most 100 bytes, line 1" in result.stderr


@pytest.mark.parametrize("text", TEXTS.values(), ids=list(TEXTS))
def test_no_text_of_a_record_acts_on_the_terminal(tmp_path: Path, text: str) -> None:
    records = [edited(one, type=text, time=text, partitionkey=text) for one in WHOLE]
    result = run(written(tmp_path / "a", records))
    assert result.exit_code == 1
    assert "\x1b" not in result.stdout
    assert "\u202e" not in result.stdout
    assert all(
        line.startswith(("release", "  ", "1 release")) for line in result.stdout.splitlines()
    )
