"""A real Envoy that is told everything by a control plane, a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from adapters.routers.envoy.xds.bootstrap import ads_bootstrap
from adapters.tls import TlsFiles
from tests.contract.routers.live import LiveEnvoy, free_port
from tests.contract.routers.wire import Instances
from tests.groups import ROOT

_WITHIN_S = 60.0


class LiveControlPlane:
    """`aviary envoys serve` on a folder."""

    def __init__(self, directory: Path, words: Sequence[str] = ("--plaintext",)) -> None:
        self.directory = directory
        self.port = free_port()
        self._words = words
        self._log = directory.parent / f"{directory.name}-{self.port}.log"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; Envoys find it once it listens."""
        words = ["envoys", "serve", str(self.directory), "--listen", f"127.0.0.1:{self.port}"]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "aviary", *words, *self._words],
                cwd=ROOT,
                env={**os.environ, "AVIARY_LOG_LEVEL": "info"},
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _WITHIN_S
        while b"serving Envoys" not in self._log.read_bytes():
            assert self._process.poll() is None, self._log.read_text()
            assert time.monotonic() < deadline, self._log.read_text()
            time.sleep(0.05)

    def stop(self) -> None:
        """Kill it."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


class AdsEnvoy(LiveEnvoy):
    """One Envoy that sees no folder.

    Args:
        binary: its program.
        directory: of the fleet, which the control plane sees.
        instances: what the pools are made of.
        control: port of the control plane.
        node: its id.
        tls: towards the control plane.
    """

    def __init__(
        self,
        binary: Path,
        directory: Path,
        instances: Instances,
        control: int,
        *,
        node: str = "edge-1",
        tls: TlsFiles | None = None,
    ) -> None:
        super().__init__(binary, directory, instances)
        admin = ("127.0.0.1", self.admin_port)
        server_name = "control.example" if tls else ""
        planes = [("127.0.0.1", control)]
        made = ads_bootstrap(node, planes, admin=admin, tls=tls, server_name=server_name)
        self._config = directory.parent / f"{node}-{self.admin_port}.yaml"
        self._config.write_text(json.dumps(made))
