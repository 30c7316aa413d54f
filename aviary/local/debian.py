"""Prometheus and Alertmanager from Debian's packages, unpacked below a folder, never installed.

Works the same for root and for anybody else: apt's state is kept below the folder, nothing of the
machine is changed, no daemon is started by a package script.
"""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PACKAGES: Final = ("prometheus", "prometheus-alertmanager")
_ABSOLUTE: Final = b"/usr/share/prometheus/alertmanager"
# Same length: Go keeps the length of its strings beside them.
_RELATIVE: Final = b"usr/share/prometheus/alertmanager/"
_RECIPE: Final = 1


class DebianError(RuntimeError):
    """The packages could not be had; the text says which command failed and what it printed."""


@dataclass(frozen=True)
class DebianTools:
    """The unpacked programs. `alertmanager` must be started with `root` as working directory."""

    root: Path

    @property
    def prometheus(self) -> Path:
        """The Prometheus server."""
        return self.root / "usr/bin/prometheus"

    @property
    def promtool(self) -> Path:
        """Checks Prometheus configuration and rules."""
        return self.root / "usr/bin/promtool"

    @property
    def alertmanager(self) -> Path:
        """The Alertmanager server."""
        return self.root / "usr/bin/prometheus-alertmanager"

    def missing(self) -> list[Path]:
        """Programs that are not there."""
        return [p for p in (self.prometheus, self.promtool, self.alertmanager) if not p.exists()]


def cache_folder() -> Path:
    """Where downloads are kept: `AVIARY_CACHE`, else below the checkout."""
    chosen = os.environ.get("AVIARY_CACHE")
    return Path(chosen) if chosen else Path(__file__).resolve().parents[2] / ".cache" / "aviary"


async def install(cache: Path) -> DebianTools:
    """Fetch and unpack the packages below `cache` unless that is done already.

    Args:
        cache: a folder that may be kept between runs; two processes may share it.

    Raises:
        DebianError: apt is missing or failed, or a package is not what is expected.
    """
    folder = _home(cache)
    with await asyncio.to_thread(locked, folder / "lock"):
        tools = DebianTools(folder / "root")
        stamp = folder / "stamp.json"
        if _is_current(stamp) and not tools.missing():
            return tools
        await _fetch(folder)
        names = await _unpack(folder, tools)
        stamp.write_text(json.dumps({"recipe": _RECIPE, "packages": names}, indent=1))
        return tools


def apt_get(folder: Path) -> tuple[str, ...]:
    """apt-get with all its state below a folder that `clean` has prepared."""
    return (
        "apt-get",
        "-o", f"Dir::State::lists={folder}/lists",
        "-o", f"Dir::Cache={folder}",
        "-o", "APT::Sandbox::User=",
        "-o", "Debug::NoLocking=1",
        "-qq",
    )  # fmt: skip


def clean(folder: Path) -> None:
    """Make apt's folders, and remove packages of an earlier time."""
    for name in ("lists/partial", "archives/partial"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    for stale in archives(folder):
        stale.unlink()


def archives(folder: Path) -> list[Path]:
    """The packages that were downloaded."""
    return sorted(folder.glob("*.deb"))


def relocate_templates(program: bytes) -> bytes:
    """Make Alertmanager read its default template relative to its working directory.

    Debian's build reads `/usr/share/prometheus/alertmanager/default.tmpl` by absolute path, which
    does not exist when the package is only unpacked.
    """
    return program.replace(_ABSOLUTE, _RELATIVE)


def _home(cache: Path) -> Path:
    folder = cache.absolute() / "debian"  # apt and dpkg-deb run below it
    folder.mkdir(parents=True, exist_ok=True)
    return folder


async def _fetch(folder: Path) -> None:
    clean(folder)
    apt = apt_get(folder)
    await run((*apt, "update"), folder)
    await run((*apt, "download", *PACKAGES), folder)


async def _unpack(folder: Path, tools: DebianTools) -> list[str]:
    packages = archives(folder)
    fresh = folder / "root.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for archive in packages:
        await run(("dpkg-deb", "-x", str(archive), str(fresh)), folder)
    made = DebianTools(fresh)
    if missing := made.missing():
        raise DebianError(f"{[a.name for a in packages]}: expected to hold {missing[0].name}")
    made.alertmanager.write_bytes(relocate_templates(made.alertmanager.read_bytes()))
    shutil.rmtree(tools.root, ignore_errors=True)
    fresh.rename(tools.root)
    return [archive.name for archive in packages]


def _is_current(stamp: Path) -> bool:
    if not stamp.exists():
        return False
    recipe: object = json.loads(stamp.read_text()).get("recipe")
    return recipe == _RECIPE


async def run(command: Sequence[str], cwd: Path) -> str:
    """Run a command to its end; returns what it printed.

    Raises:
        DebianError: it is not there, or failed.
    """
    if shutil.which(command[0]) is None:
        raise DebianError(
            f"{command[0]}: not found; Prometheus and Alertmanager come from Debian's packages, "
            "so a Debian or a derived system is expected"
        )
    process = await asyncio.create_subprocess_exec(
        *command,
        cwd=cwd,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
    )
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:  # cancelled: apt must not go on alone
            process.kill()
            await process.wait()
    text = output.decode(errors="replace").strip()
    if process.returncode != 0:
        raise DebianError(f"{' '.join(command)}: ended with {process.returncode}:\n{text[-2000:]}")
    return text


@contextmanager
def _held(descriptor: int) -> Iterator[None]:
    try:
        yield
    finally:
        os.close(descriptor)


def locked(path: Path) -> AbstractContextManager[None]:
    """Hold a file's lock, waiting for whoever has it; call it in a thread."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    return _held(descriptor)
