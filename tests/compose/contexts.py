"""What an image is built of: a Dockerfile and files, as the tar that `docker build -` reads."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping
from pathlib import Path


def context(dockerfile: str, files: Mapping[str, bytes | Path]) -> bytes:
    """The tar of a build.

    Args:
        dockerfile: its text.
        files: what it may copy, by path; a folder comes with all that is in it. Content in bytes
            that begins as a script does may be run.
    """
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        _add(archive, "Dockerfile", dockerfile.encode())
        for name, source in files.items():
            if isinstance(source, Path):
                archive.add(source, name, filter=_of_root)
            else:
                _add(archive, name, source)
    return content.getvalue()


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o755 if data.startswith(b"#!") else 0o644
    archive.addfile(entry, io.BytesIO(data))


def _of_root(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = "root"
    return entry
