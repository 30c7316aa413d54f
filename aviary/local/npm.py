"""Programs of npm packages, installed below the cache at first use with the pins of a lock file."""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
from pathlib import Path
from typing import Final

from aviary.local import debian

_FILES: Final = ("package.json", "package-lock.json")
_COMMAND: Final = ("npm", "ci", "--omit=dev", "--ignore-scripts", "--no-audit", "--no-fund")
_LEAST_NODE: Final = 20
_MAJOR: Final = re.compile(r"v(\d{1,4})\.")
_TAIL: Final = 2_000


class NpmError(RuntimeError):
    """The packages can't be had here; the text says why."""


def node() -> str:
    """The program that runs them.

    Raises:
        NpmError: Node.js or npm is not installed, or too old.
    """
    found = shutil.which("node")
    if found is None or shutil.which("npm") is None:
        raise NpmError(f"node and npm: not found; expected Node.js {_LEAST_NODE} or newer")
    asked = subprocess.run([found, "--version"], capture_output=True, text=True, check=False)  # noqa: S603 - node
    version = asked.stdout.strip()
    major = _MAJOR.match(version)
    if major is None or int(major[1]) < _LEAST_NODE:
        raise NpmError(f"node: found {version or 'none'}, expected {_LEAST_NODE} or newer")
    return found


def installed(name: str, pins: Path) -> Path:
    """The folder with what a lock file pins; fetched if it is not there yet, which takes minutes.

    No script of a package is run. Two processes may ask at once: one of them fetches.

    Args:
        name: of the folder below the cache.
        pins: folder with `package.json` and `package-lock.json`.

    Raises:
        NpmError: they can't be had here.
    """
    content = b"".join((pins / file).read_bytes() for file in _FILES)
    folder = debian.cache_folder().absolute() / "npm" / name
    folder.mkdir(parents=True, exist_ok=True)
    with debian.locked(folder / "lock"):
        root = folder / hashlib.sha256(content).hexdigest()[:16]
        if root.exists():
            return root
        node()
        fresh = folder / "new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        for file in _FILES:
            shutil.copy(pins / file, fresh / file)
        done = subprocess.run(  # noqa: S603 - npm
            _COMMAND,
            cwd=fresh,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        if done.returncode:
            text = f"npm ci: ended with {done.returncode}:\n{done.stdout[-_TAIL:]}"
            raise NpmError(text)
        fresh.rename(root)
        return root
