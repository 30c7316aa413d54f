"""A headless Chromium that a fresh machine gets by itself.

Debian's `chromium-headless-shell` and every library that it needs are unpacked below the cache,
as Prometheus is (docs/decisions/0006): nothing is installed, root is not needed. `playwright`,
which drives it, is a package of the lock file; its own download of a browser is not used.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from playwright.async_api import Browser, async_playwright

from aviary.local import debian
from aviary.local.debian import DebianError

PACKAGES: Final = ("chromium-headless-shell", "fonts-dejavu-core", "fonts-inter")
_OF_THE_MACHINE: Final = ("libc6",)
"""The C library must be the one of the program loader, which is the machine's."""
_RECIPE: Final = 1
_URI: Final = re.compile(r"^'[^']+' ([a-z0-9][a-z0-9+.-]+)_\S+ \d+", re.MULTILINE)
_FONTS: Final = """<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "fonts.dtd">
<fontconfig>
  <dir>{root}/usr/share/fonts</dir>
  <cachedir>{root}/../fonts</cachedir>
  <alias><family>sans-serif</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>system-ui</family><prefer><family>Inter</family></prefer></alias>
  <alias><family>monospace</family><prefer><family>DejaVu Sans Mono</family></prefer></alias>
</fontconfig>
"""


@dataclass(frozen=True)
class Chromium:
    """The unpacked browser."""

    root: Path

    @property
    def program(self) -> Path:
        """The browser."""
        return self.root / "usr/lib/chromium/chromium-headless-shell"

    @property
    def fonts(self) -> Path:
        """Fontconfig's file, which names the unpacked fonts and no others."""
        return self.root / "fonts.conf"

    def environment(self) -> dict[str, str]:
        """The environment that it finds its libraries and fonts in."""
        folders = [
            folder
            for pattern in ("lib/*-linux-gnu", "usr/lib/*-linux-gnu", "usr/lib/*/pulseaudio")
            for folder in sorted(self.root.glob(pattern))
        ]
        return {
            **os.environ,
            "LD_LIBRARY_PATH": ":".join(map(str, folders)),
            "FONTCONFIG_FILE": str(self.fonts),
        }


async def install(cache: Path) -> Chromium:
    """Fetch and unpack the browser below `cache` unless that is done already.

    About 170 MB are fetched and 500 MB kept; some twenty seconds with a near mirror.

    Raises:
        DebianError: it can't be had here; the text says why.
    """
    folder = cache.absolute() / "chromium"
    folder.mkdir(parents=True, exist_ok=True)
    with await asyncio.to_thread(debian.locked, folder / "lock"):
        chromium, stamp = Chromium(folder / "root"), folder / "stamp.json"
        if stamp.exists() and json.loads(stamp.read_text())["recipe"] == _RECIPE:
            _name_fonts(chromium)
            return chromium
        names = await _fetch(folder)
        await _unpack(folder, chromium)
        _name_fonts(chromium)
        await _check(chromium, folder)
        stamp.write_text(json.dumps({"recipe": _RECIPE, "packages": names}, indent=1))
        return chromium


@asynccontextmanager
async def opened(chromium: Chromium) -> AsyncIterator[Browser]:
    """A running browser."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=chromium.program,
            env=dict(chromium.environment()),
        )
        try:
            yield browser
        finally:
            await browser.close()


async def _fetch(folder: Path) -> list[str]:
    debian.clean(folder)
    apt = debian.apt_get(folder)
    await debian.run((*apt, "update"), folder)
    nothing = folder / "status"  # as on a machine with no package: then all it needs is listed
    nothing.write_text("")
    listed = await debian.run(
        (*apt, "-o", f"Dir::State::status={nothing}", "install", "--no-install-recommends",
         "--print-uris", *PACKAGES),
        folder,
    )  # fmt: skip
    names = [name for name in _URI.findall(listed) if name not in _OF_THE_MACHINE]
    if not set(PACKAGES) <= set(names):
        raise DebianError(f"apt-get: expected {', '.join(PACKAGES)} in:\n{listed[-2000:]}")
    await debian.run((*apt, "download", *names), folder)
    return names


async def _unpack(folder: Path, chromium: Chromium) -> None:
    fresh = folder / "root.new"
    shutil.rmtree(fresh, ignore_errors=True)
    for archive in debian.archives(folder):
        await debian.run(("dpkg-deb", "-x", str(archive), str(fresh)), folder)
        archive.unlink()
    shutil.rmtree(chromium.root, ignore_errors=True)
    fresh.rename(chromium.root)


def _name_fonts(chromium: Chromium) -> None:
    """Where the fonts are now: the cache may have been moved, and without fonts Chromium aborts."""
    chromium.fonts.write_text(_FONTS.format(root=chromium.root))


async def _check(chromium: Chromium, folder: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        "ldd",
        str(chromium.program),
        stdout=asyncio.subprocess.PIPE,
        env=chromium.environment(),
        cwd=folder,
    )
    output, _ = await process.communicate()
    lines = [line.strip() for line in output.decode().splitlines()]
    missing = [line for line in lines if "not found" in line]
    if missing:
        raise DebianError(f"{chromium.program.name}: {'; '.join(missing)}")
