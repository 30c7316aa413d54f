"""The control plane of an Envoy fleet as a process, and what its Envoys are started with."""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from adapters.routers.envoy.xds.bootstrap import ads_bootstrap
from adapters.routers.envoy.xds.server import ControlPlane

if TYPE_CHECKING:
    from adapters.tls import TlsFiles
    from aviary.settings import Settings

_LOOK_EVERY_S = 1.0
_LOG = logging.getLogger(__name__)


async def run_control_plane(
    _: Settings,
    stop: asyncio.Event,
    *,
    directory: Path,
    listen: str,
    name: str,
    tls: TlsFiles | None,
) -> None:
    """Serve a folder to Envoys until told to stop.

    Raises:
        Retryable: the folder can't be read, or the address can't be listened on.
        OSError: a file of certificates can't be read.
    """
    plane = ControlPlane(directory, name=name, tls=tls)
    async with plane.serving(listen) as port:
        _LOG.info("serving Envoys", extra={"directory": str(directory), "port": port})
        said = ""
        while not stop.is_set():
            if plane.trouble != said:
                said = plane.trouble
                _LOG.warning("what is served may be old: %s", said or "it no longer is")
            try:
                await asyncio.wait_for(stop.wait(), _LOOK_EVERY_S)
            except TimeoutError:
                continue


def bootstrap_text(
    node: str,
    control: Sequence[tuple[str, int]],
    admin: tuple[str, int],
    tls: TlsFiles | None,
    server_name: str,
) -> str:
    """The bootstrap of one Envoy, as JSON."""
    made: dict[str, Any] = ads_bootstrap(
        node, control, admin=admin, tls=tls, server_name=server_name
    )
    return json.dumps(made, indent=2)
