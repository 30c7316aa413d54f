"""Images of the shop, built on a host that reaches no registry.

The base is Debian's Python, unpacked; each version of the shop is an image on it, built from a
Dockerfile as any service's is. What is wrong with a version is in its image.
"""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final

from aviary.local.docker import DockerHost
from aviary.local.parts import ROOT
from aviary.local.shop import Fault
from aviary.local.unpacked import unpacked

BASE: Final = "debian-python:local"
REPOSITORY: Final = "shop"
PORT: Final = 8080
_SOURCES: Final = ("__init__.py", "local/__init__.py", "local/http1.py", "local/shop.py")
_LEFT_OUT: Final = ("usr/share/doc", "usr/share/man", "usr/share/locale", "usr/share/lintian")
# Modules are compiled as the image is built, and not each time that an instance begins.
_DOCKERFILE: Final = f"""\
FROM {BASE}
WORKDIR /app
COPY aviary aviary
RUN ["/usr/bin/python3", "-c", "import aviary.local.shop"]
USER 10001:10001
ENV PYTHONUNBUFFERED=1
ENTRYPOINT ["/usr/bin/python3", "-m", "aviary.local.shop", "--built", "built.json", \
"--host", "0.0.0.0", "--port", "{PORT}"]
COPY built.json ./
"""


def image_of(version: str) -> str:
    """The name of the image of a version: one for all services of the shop."""
    return f"{REPOSITORY}:{version}"


async def import_base(host: DockerHost) -> None:
    """Give a host the image that the shop's are built on; 60 MB.

    Raises:
        DebianError: the packages can't be had.
        DockerError: the daemon does not take it.
    """
    root = await asyncio.to_thread(unpacked, "python-root", "python3", whole=True)
    await import_root(host, root, BASE)


async def import_root(host: DockerHost, root: Path, name: str) -> None:
    """Make an image of a folder of unpacked packages.

    Raises:
        DockerError: the daemon does not take it.
    """
    files = await asyncio.to_thread(_archive, root)
    await host.docker("import", "-", name, stdin=files)


async def build(host: DockerHost, version: str, faults: Mapping[str, Fault]) -> None:
    """Build the image of one version of the shop.

    Args:
        host: has the base.
        version: what its instances say they are.
        faults: what is wrong with it, by service.

    Raises:
        DockerError: it can't be built.
    """
    built = {"version": version, "faults": {name: asdict(one) for name, one in faults.items()}}
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        _add(archive, "Dockerfile", _DOCKERFILE.encode())
        _add(archive, "built.json", json.dumps(built).encode())
        for name in _SOURCES:
            _add(archive, f"aviary/{name}", (ROOT / "aviary" / name).read_bytes())
    words = ("build", "--network", "none", "--quiet", "--tag", image_of(version), "-")
    await host.docker(*words, stdin=content.getvalue())


def _archive(root: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as archive:
        for path in _below(root):
            entry = archive.gettarinfo(path, str(path.relative_to(root)))
            entry.uid = entry.gid = 0
            entry.uname = entry.gname = "root"
            if entry.isreg():
                with path.open("rb") as file:
                    archive.addfile(entry, file)
            else:
                archive.addfile(entry)
    return content.getvalue()


def _below(root: Path) -> Iterator[Path]:
    left_out = {root / name for name in _LEFT_OUT}
    for path in sorted(root.rglob("*")):
        if left_out.isdisjoint((path, *path.parents)):
            yield path


def _add(archive: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    archive.addfile(entry, io.BytesIO(data))
