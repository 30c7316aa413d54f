"""Which build this is: the deployment's name, and the build ID."""

from __future__ import annotations

import hashlib
import re
from functools import cache
from pathlib import Path
from typing import Final

import temporalio
from temporalio.common import WorkerDeploymentVersion

from aviary import __version__
from aviary.settings import BUILD_AUTO, BUILD_OFF, Settings

DECIDES: Final = ("workflows", "schemas", "activities")
"""The packages that decide whether a history replays: the workflows, and all that they exchange."""
_BESIDE: Final = ("aviary/converter.py", "aviary/sandbox.py")
_ROOT: Final = Path(__file__).resolve().parent.parent.parent
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_-]")


def version_of(settings: Settings) -> WorkerDeploymentVersion | None:
    """The deployment and the build of this process; None with `AVIARY_BUILD_ID=off`."""
    if settings.build_id == BUILD_OFF:
        return None
    build = own_build_id() if settings.build_id == BUILD_AUTO else settings.build_id
    return WorkerDeploymentVersion(deployment_of(settings), build)


def deployment_of(settings: Settings) -> str:
    """The deployment's name: `AVIARY_DEPLOYMENT`, else that of the task queue.

    Temporal allows no dot in it.
    """
    return settings.deployment or _NOT_IN_NAMES.sub(
        "-", settings.main_queue.replace("/", "_", 1) if settings.cell else settings.task_queue
    )


def named_build(settings: Settings) -> str:
    """The build of this process, for people: whether or not it takes part in worker versioning."""
    set_by_hand = settings.build_id not in {BUILD_OFF, BUILD_AUTO}
    return settings.build_id if set_by_hand else own_build_id()


@cache
def own_build_id() -> str:
    """The version of the package, and a digest of what decides whether a history replays.

    Builds that differ in nothing else (adapters, the command line, the report) have the same ID:
    their workers take each other's releases over at once.
    """
    return f"{__version__}-{digest(_ROOT)[:12]}"


def digest(root: Path) -> str:
    """SHA-256, in hex, of the sources below `root` that decide, and of the SDK's version."""
    found = hashlib.sha256(temporalio.__version__.encode())
    sources = (one for package in DECIDES for one in (root / package).rglob("*.py"))
    for source in (*sorted(sources), *(root / name for name in _BESIDE)):
        found.update(source.relative_to(root).as_posix().encode() + b"\0")
        found.update(source.read_bytes() + b"\0")
    return found.hexdigest()
