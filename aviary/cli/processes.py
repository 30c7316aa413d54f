"""`aviary worker|bridge|webhook|serve`: the long-running processes, until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import signal
import sys
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import typer

from aviary.cli.failing import ExitCode
from aviary.cli.options import AddressOption, CatalogOption, NamespaceOption
from aviary.leaving import leave

if TYPE_CHECKING:
    from aviary.settings import Settings

Run = Callable[["Settings", asyncio.Event], Awaitable[None]]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(worker)
    app.command()(bridge)
    app.command()(webhook)
    app.command()(serve)


def worker(address: AddressOption = None, namespace: NamespaceOption = None) -> None:
    """Run the workflows and activities."""
    from aviary.worker import run_worker  # noqa: PLC0415 - heavy, and only wanted here

    _run([run_worker], _settings(None, address, namespace), "worker")


def bridge(
    catalog: CatalogOption = None, address: AddressOption = None, namespace: NamespaceOption = None
) -> None:
    """Turn what Kafka brings into releases and signals."""
    from aviary.bridge import run_bridge  # noqa: PLC0415

    _run([run_bridge], _settings(catalog, address, namespace), "bridge")


def webhook(catalog: CatalogOption = None) -> None:
    """Take alerts from Alertmanager and put them on Kafka."""
    from aviary.webhook import run_webhook  # noqa: PLC0415

    _run([run_webhook], _settings(catalog, None, None), "webhook")


def serve(
    catalog: CatalogOption = None, address: AddressOption = None, namespace: NamespaceOption = None
) -> None:
    """Run worker, bridge and webhook in one process."""
    from aviary.bridge import run_bridge  # noqa: PLC0415
    from aviary.telemetry.registry import new_registry  # noqa: PLC0415
    from aviary.webhook import run_webhook  # noqa: PLC0415
    from aviary.worker import run_bare_worker  # noqa: PLC0415

    shown_by_bridge = new_registry("worker")
    parts: list[Run] = [
        partial(run_bare_worker, registry=shown_by_bridge),
        partial(run_bridge, beside=shown_by_bridge),
        run_webhook,
    ]
    _run(parts, _settings(catalog, address, namespace), "serve")


def _settings(catalog: Path | None, address: str | None, namespace: str | None) -> Settings:
    from aviary.settings import load_settings  # noqa: PLC0415

    return load_settings(catalog=catalog, temporal_address=address, temporal_namespace=namespace)


def _run(parts: list[Run], settings: Settings, role: str = "serve") -> NoReturn:
    """Run the parts until a signal or until one ends, then leave."""
    from aviary.logs import configure_logs  # noqa: PLC0415
    from aviary.telemetry.configure import Telemetry, configure_telemetry  # noqa: PLC0415

    configure_logs(level=settings.log_level, fmt=settings.log_format)
    telemetry = Telemetry()
    try:
        telemetry = configure_telemetry(role)
        asyncio.run(run_parts(parts, settings))
        code = ExitCode.OK
    except Exception as error:  # noqa: BLE001 - the last one to see it: told, then exit code
        code = told_and_coded(error)
    telemetry.close()
    leave(code)


def told_and_coded(error: Exception) -> ExitCode:
    """Tell of an error on stderr, in a line where it is one that is expected; its exit code."""
    from adapters.errors import AdapterError  # noqa: PLC0415
    from aviary.settings import SettingsError  # noqa: PLC0415
    from schemas.catalog_file import CatalogError  # noqa: PLC0415

    if isinstance(error, CatalogError | SettingsError):
        sys.stderr.write(f"{error}\n")
        return ExitCode.BAD_INPUT
    if isinstance(error, AdapterError | OSError):
        sys.stderr.write(f"{error}\n")
    else:
        traceback.print_exception(error, file=sys.stderr)
    return ExitCode.FAILURE


async def run_parts(parts: list[Run], settings: Settings) -> None:
    """Run parts side by side until SIGTERM, SIGINT or the end of any; then stop them all.

    Raises:
        Exception: the first error of a part, after all others have stopped.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)

    async def run(part: Run) -> None:
        try:
            await part(settings, stop)
        finally:
            stop.set()

    tasks = [asyncio.ensure_future(run(part)) for part in parts]
    try:
        results = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    for result in results:
        if isinstance(result, BaseException):
            raise result
