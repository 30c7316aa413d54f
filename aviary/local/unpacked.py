"""Debian's packages, unpacked below the cache at first use and never installed.

root = unpacked("etcd", "etcd-server")
subprocess.Popen([root / "usr/bin/etcd", …])
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from aviary.local import debian
from aviary.local.debian import DebianError

_URI: Final = re.compile(r"^'[^']+' ([a-z0-9][a-z0-9+.-]+)_\S+ \d+", re.MULTILINE)
_OF_THE_MACHINE: Final = frozenset({"libc6"})
"""The C library must be the one of the program loader, which is the machine's."""
_ARCHIVE: Final = re.compile(r"^(https?://\S+) Debian$", re.MULTILINE)


def unpacked(name: str, *packages: str, whole: bool = False, suite: str | None = None) -> Path:
    """The folder with these packages and all that they need; fetched if it is not there yet.

    Args:
        name: of the folder below the cache; one for each set of packages.
        packages: as apt-get names them.
        whole: with the C library and its loader, for a root of its own, such as an image's.
        suite: of Debian, such as `trixie`, where the machine's own does not have them; the
            programs have to run with the machine's C library.

    Raises:
        DebianError: they can't be had here; the text says why.
    """
    folder = debian.cache_folder().absolute() / "unpacked" / name
    folder.mkdir(parents=True, exist_ok=True)
    with debian.locked(folder / "lock"):
        root, stamp = folder / "root", folder / "stamp.json"
        if stamp.exists() and json.loads(stamp.read_text()) == list(packages):
            return root
        _fetch(folder, packages, frozenset() if whole else _OF_THE_MACHINE, suite)
        fresh = folder / "root.new"
        shutil.rmtree(fresh, ignore_errors=True)
        for archive in debian.archives(folder):
            _run(folder, "dpkg-deb", "-x", str(archive), str(fresh))
            archive.unlink()
        shutil.rmtree(root, ignore_errors=True)
        fresh.rename(root)
        stamp.write_text(json.dumps(packages))
        return root


def environment(root: Path) -> Mapping[str, str]:
    """What an unpacked program has to be started with to find its libraries."""
    found = [*root.glob("lib/*-linux-gnu"), *root.glob("usr/lib/*-linux-gnu")]
    return {**os.environ, "LD_LIBRARY_PATH": ":".join(map(str, sorted(found)))}


def _fetch(
    folder: Path, packages: tuple[str, ...], without: frozenset[str], suite: str | None
) -> None:
    debian.clean(folder)
    apt = debian.apt_get(folder) + (() if suite is None else _of_suite(folder, suite))
    _run(folder, *apt, "update")
    nothing = folder / "status"  # as on a machine with no package: then all that is needed is named
    nothing.write_text("")
    wanted = ("install", "--no-install-recommends", "--print-uris", *packages)
    listed = _run(folder, *apt, "-o", f"Dir::State::status={nothing}", *wanted)
    names = [name for name in _URI.findall(listed) if name not in without]
    if not set(packages) <= set(names):
        raise DebianError(f"apt-get: expected {', '.join(packages)} in:\n{listed[-2000:]}")
    _run(folder, *apt, "download", *names)


def _of_suite(folder: Path, suite: str) -> tuple[str, ...]:
    """Have apt read another suite of the archive that the machine's own packages are from."""
    listed = _run(folder, "apt-get", "indextargets", "--format", "$(REPO_URI) $(LABEL)")
    found = _ARCHIVE.search(listed)
    if found is None:
        raise DebianError(f"apt-get indextargets: expected Debian's archive in:\n{listed[-2000:]}")
    sources = folder / "sources.list"
    sources.write_text(f"deb {found[1]} {suite} main\n")
    return ("-o", f"Dir::Etc::sourcelist={sources}", "-o", "Dir::Etc::sourceparts=-")


def _run(folder: Path, *command: str) -> str:
    if shutil.which(command[0]) is None:
        raise DebianError(f"{command[0]}: not found; expected Debian or a derived system")
    done = subprocess.run(  # noqa: S603 - apt-get and dpkg-deb
        command,
        cwd=folder,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env={**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"},
        text=True,
        check=False,
    )
    if done.returncode != 0:
        text = f"{' '.join(command)}: ended with {done.returncode}:\n{done.stdout[-2000:]}"
        raise DebianError(text)
    return done.stdout
