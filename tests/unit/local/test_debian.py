"""Debian's packages are fetched once, unpacked whole, and every failure says what to do."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from aviary.local.debian import DebianError, cache_folder, install, relocate_templates

_APT = """#!/bin/sh
echo "$@" >> "$FAKE_LOG"
case "$*" in
  *download*) touch prometheus_2.deb prometheus-alertmanager_0.deb ;;
esac
"""
_DPKG = """#!/bin/sh
mkdir -p "$3/usr/bin"
NAME=prometheus-alertmanager
case "$2" in
  *alertmanager*)
    printf 'go:/usr/share/prometheus/alertmanager/default.tmpl' > "$3/usr/bin/$NAME" ;;
  *) touch "$3/usr/bin/prometheus" "$3/usr/bin/promtool" ;;
esac
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A machine whose apt and dpkg are scripts; its file `log` has apt's command lines."""
    programs = tmp_path / "bin"
    programs.mkdir()
    _script(programs / "apt-get", _APT)
    _script(programs / "dpkg-deb", _DPKG)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    monkeypatch.setenv("FAKE_LOG", str(tmp_path / "log"))
    return tmp_path


async def test_packages_are_fetched_and_unpacked_once(machine: Path) -> None:
    tools = await install(machine / "cache")
    again = await install(machine / "cache")
    assert tools == again
    assert tools.missing() == []
    lines = (machine / "log").read_text().splitlines()
    assert [line.split("-qq ")[1] for line in lines] == [
        "update",
        "download prometheus prometheus-alertmanager",
    ]
    assert tools.alertmanager.read_bytes() == b"go:usr/share/prometheus/alertmanager//default.tmpl"


async def test_two_runs_at_once_fetch_once(machine: Path) -> None:
    await asyncio.gather(install(machine / "cache"), install(machine / "cache"))
    assert len((machine / "log").read_text().splitlines()) == 2


async def test_a_program_that_was_deleted_is_unpacked_again(machine: Path) -> None:
    tools = await install(machine / "cache")
    tools.promtool.unlink()
    assert (await install(machine / "cache")).missing() == []


async def test_apt_that_fails_is_quoted(machine: Path) -> None:
    _script(machine / "bin/apt-get", "#!/bin/sh\necho 'E: no network'; exit 100\n")
    with pytest.raises(DebianError, match=r"(?s)apt-get .*update: ended with 100:.*E: no network"):
        await install(machine / "cache")


async def test_a_machine_without_apt_is_told_what_is_expected(
    machine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(machine / "nothing"))
    with pytest.raises(DebianError, match=r"apt-get: not found; .* a Debian"):
        await install(machine / "cache")


async def test_a_package_without_its_program_is_an_error_and_is_not_remembered(
    machine: Path,
) -> None:
    _script(machine / "bin/dpkg-deb", '#!/bin/sh\nmkdir -p "$3"\n')
    for _ in range(2):
        with pytest.raises(DebianError, match="expected to hold prometheus"):
            await install(machine / "cache")


def test_relocation_keeps_the_length_since_go_keeps_it_beside_the_text() -> None:
    program = b"\x00/usr/share/prometheus/alertmanager/default.tmpl\x00"
    moved = relocate_templates(program)
    assert len(moved) == len(program)
    assert b"/usr/share" not in moved


def test_the_cache_folder_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIARY_CACHE", "/var/tmp/elsewhere")
    assert cache_folder() == Path("/var/tmp/elsewhere")
    monkeypatch.delenv("AVIARY_CACHE")
    assert cache_folder().parts[-2:] == (".cache", "aviary")


def _script(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)
