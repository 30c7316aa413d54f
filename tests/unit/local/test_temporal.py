"""How Temporal's production server is had: where it is, what it takes, what is said without Go."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from aviary.local import golang
from aviary.local.temporal import programs
from aviary.local.temporal.programs import SOURCE, TemporalBuildError


def test_the_module_pins_the_version_that_is_named() -> None:
    required = re.findall(r"^require go\.temporal\.io/server v(\S+)$", _mod(), re.MULTILINE)
    assert required == [programs.VERSION]


def test_every_module_that_is_required_has_its_checksum() -> None:
    sums = (SOURCE / "go.sum").read_text()
    required = re.findall(r"^(?:require |\t)(\S+) (v\S+)", _mod(), re.MULTILINE)
    assert len(required) > 100
    assert [one for one in required if f"{one[0]} {one[1]}/go.mod h1:" not in sums] == []


def test_another_pin_is_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("go.mod", "go.sum"):
        (tmp_path / name).write_bytes((SOURCE / name).read_bytes())
    monkeypatch.setattr(programs, "SOURCE", tmp_path)
    before = programs.tools(tmp_path)
    assert before == programs.tools(tmp_path)
    (tmp_path / "go.mod").write_text(_mod().replace(programs.VERSION, "1.31.1"))
    assert programs.tools(tmp_path).root != before.root


async def test_without_go_it_says_so_and_takes_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(golang, "is_there", lambda: False)
    said: list[str] = []
    with pytest.raises(TemporalBuildError, match="go is not there"):
        await programs.install(tmp_path, said.append)
    assert (said, programs.to_build(tmp_path)) == ([], 0)


async def test_a_build_says_beforehand_how_long_it_takes_and_is_not_half_done(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    said: list[str] = []

    async def fail(*_: object) -> str:
        raise golang.GoError("go build: ended with 1:\nno such module")

    monkeypatch.setattr(golang, "is_there", lambda: True)
    monkeypatch.setattr(golang, "go", fail)
    assert programs.to_build(tmp_path) == programs.MINUTES
    with pytest.raises(TemporalBuildError, match="no such module"):
        await programs.install(tmp_path, said.append)
    assert f"about {programs.MINUTES} minutes" in said[0]
    assert not programs.tools(tmp_path).is_there()


async def test_what_is_built_once_is_taken_from_then_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "module"
    for name in ("docker/scripts/sh/entrypoint.sh", "schema/postgresql/v12/temporal/versioned/x"):
        (module / name).parent.mkdir(parents=True)
        (module / name).write_text(name)
        (module / name).chmod(0o444)
    asked: list[str] = []

    async def build(_: Path, *words: str) -> str:
        asked.append(words[0])
        return f"{module}\n"

    monkeypatch.setattr(golang, "is_there", lambda: True)
    monkeypatch.setattr(golang, "go", build)
    made = await programs.install(tmp_path, lambda _: None)
    assert (made.schema("temporal") / "x").read_text().endswith("versioned/x")
    assert made.entry_point.read_text().endswith("entrypoint.sh")
    assert asked == ["build", "build", "list"]
    assert await programs.install(tmp_path, lambda _: None) == made
    assert (asked, programs.to_build(tmp_path)) == (["build", "build", "list"], 0)


def _mod() -> str:
    return (SOURCE / "go.mod").read_text()
