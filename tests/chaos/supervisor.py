"""Workers as processes of their own, forked from one that has imported everything already.

It reads one order a line (JSON: `settings`, `folder`, `routes`, `ports`), and answers with the
worker's process id. A worker is the product's own `aviary.worker.work`; only its client has the
hook of `killing`, and its memory deployer the platform of `platform`.
"""

from __future__ import annotations

import asyncio
import ctypes
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry
from temporalio.client import Client

from aviary.connect import connect_temporal
from aviary.logs import configure_logs
from aviary.settings import Settings
from aviary.worker import work
from tests.chaos import platform
from tests.chaos.killing import Killing

PR_SET_PDEATHSIG = 1


async def run(settings: Settings, folder: Path) -> None:
    plain = await connect_temporal(settings)
    config = plain.config()
    config["interceptors"] = [Killing(folder / "order.json", folder / "calls.txt")]
    await work(Client(**config), settings, asyncio.Event(), CollectorRegistry())


def worker(order: dict[str, Any]) -> None:
    """Be a worker; never returns."""
    die_with_parent()
    folder = Path(order["folder"])
    log = os.open(folder / "worker.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    null = os.open(os.devnull, os.O_RDONLY)
    for old, new in ((null, 0), (log, 1), (log, 2)):
        os.dup2(old, new)
    settings = Settings.model_validate(order["settings"])
    configure_logs(level="info", fmt="json")
    platform.install(folder, Path(order["routes"]), order["ports"])
    try:
        asyncio.run(run(settings, folder))
    finally:
        os._exit(1)


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main() -> None:
    die_with_parent()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for the killed
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            worker(json.loads(line))
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
