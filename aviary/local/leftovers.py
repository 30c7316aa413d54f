"""What a stack that was killed has left of its Docker daemon: found again, and removed."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import Final

from aviary.local import records
from aviary.local.docker import DockerHost, DockerTools, Network

_FILE: Final = "docker.json"


def remember(stack: Path, host: DockerHost) -> None:
    """Note in a stack's folder what would be left of a daemon."""
    document = {"folder": str(host.folder), "network": asdict(host.network)}
    (stack / _FILE).write_text(json.dumps(document))


def forget(stack: Path) -> None:
    """Nothing is left of it."""
    (stack / _FILE).unlink(missing_ok=True)


def below(base: Path) -> list[Path]:
    """The folders of stacks below `base` that may have left one."""
    return sorted(path.parent for path in base.glob(f"*/{_FILE}"))


async def sweep(stack: Path) -> bool:
    """Remove the daemon that the stack of a folder left; leave alone one whose stack runs.

    Returns:
        Whether there was one.
    """
    path = stack / _FILE
    if not path.exists() or any(one.name == records.PARENT for one in records.read(stack)):
        return False
    noted = json.loads(path.read_text())
    folder, network = Path(noted["folder"]), Network(**noted["network"])
    await DockerHost(DockerTools(folder), folder, network=network).remove()
    forget(stack)
    return True
