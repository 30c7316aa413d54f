"""`aviary worker|bridge|webhook|serve|sentinel|exporter`: processes until SIGTERM or SIGINT."""

from __future__ import annotations

import asyncio
import faulthandler
import signal
import traceback
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, NoReturn

import typer

from aviary.cli.border import echo
from aviary.cli.failing import ExitCode
from aviary.cli.options import AddressOption, CatalogOption, NamespaceOption
from aviary.leaving import leave

if TYPE_CHECKING:
    from aviary.settings import Settings

LEAVES_WITHIN_S: Final = 20.0
"""Longest way out: the graces of all parts, and what may hang after them."""

Run = Callable[["Settings", asyncio.Event], Awaitable[None]]


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    app.command()(worker)
    app.command()(bridge)
    app.command()(webhook)
    app.command()(serve)
    app.command()(sentinel)
    app.command()(exporter)


def worker(address: AddressOption = None, namespace: NamespaceOption = None) -> None:
    """Run the workflows and activities."""
    from aviary.worker import run_worker  # noqa: PLC0415 - heavy, and only wanted here

    run_process([run_worker], settings_of(None, address, namespace), "worker")


def bridge(
    catalog: CatalogOption = None, address: AddressOption = None, namespace: NamespaceOption = None
) -> None:
    """Turn what Kafka brings into releases and signals."""
    from aviary.bridge import run_bridge  # noqa: PLC0415

    run_process([run_bridge], settings_of(catalog, address, namespace), "bridge")


def webhook(catalog: CatalogOption = None) -> None:
    """Take alerts from Alertmanager and put them on Kafka."""
    from aviary.webhook import run_webhook  # noqa: PLC0415

    run_process([run_webhook], settings_of(catalog), "webhook")


def serve(
    catalog: CatalogOption = None, address: AddressOption = None, namespace: NamespaceOption = None
) -> None:
    """Run worker, bridge and webhook in one process."""
    from aviary.bridge import Beside, run_bridge  # noqa: PLC0415
    from aviary.telemetry.registry import new_registry  # noqa: PLC0415
    from aviary.webhook import run_webhook  # noqa: PLC0415
    from aviary.worker import Standing, run_bare_worker  # noqa: PLC0415

    settings = settings_of(catalog, address, namespace)
    shown_by_bridge, standing = new_registry("worker"), Standing(settings)
    beside = Beside(shown_by_bridge, ready=standing.ready, alive=standing.alive)
    parts: list[Run] = [
        partial(run_bare_worker, registry=shown_by_bridge, standing=standing),
        partial(run_bridge, beside=beside),
        run_webhook,
    ]
    run_process(parts, settings, "serve")


def sentinel(catalog: CatalogOption = None) -> None:
    """Give stable everything where a release shows no sign of life; needs the routers alone."""
    from aviary.sentinel.run import run_sentinel  # noqa: PLC0415

    run_process([run_sentinel], settings_of(catalog), "sentinel")


def exporter() -> None:
    """Show numbers about releases to Prometheus, from aviary.events; needs Kafka alone."""
    from aviary.numbers.run import run_exporter  # noqa: PLC0415

    run_process([run_exporter], settings_of(None), "exporter")


def settings_of(
    catalog: Path | None, address: str | None = None, namespace: str | None = None
) -> Settings:
    """The settings of a process, with what its command line says."""
    from aviary.settings import load_settings  # noqa: PLC0415

    return load_settings(catalog=catalog, temporal_address=address, temporal_namespace=namespace)


def run_process(parts: list[Run], settings: Settings, role: str = "serve") -> NoReturn:
    """Run the parts until a signal or until one ends, then leave."""
    from aviary.logs import configure_logs  # noqa: PLC0415
    from aviary.telemetry.configure import Telemetry, configure_telemetry  # noqa: PLC0415

    configure_logs(level=settings.log_level, fmt=settings.log_format)
    telemetry = Telemetry()
    try:
        telemetry = configure_telemetry(role)
        asyncio.run(run_parts(parts, settings, leave_in_time))
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
        echo(str(error), err=True)
        return ExitCode.BAD_INPUT
    if isinstance(error, AdapterError | OSError):
        echo(str(error), err=True)
    else:
        echo("".join(traceback.format_exception(error)).rstrip("\n"), err=True)
    return ExitCode.FAILURE


def leave_in_time() -> None:
    """See to it that the process has left when `LEAVES_WITHIN_S` are over.

    Should it not have by itself, every thread's stack is on stderr, and the exit code is 1. This
    needs neither the event loop nor the interpreter, whatever either of them hangs in.
    """
    faulthandler.dump_traceback_later(LEAVES_WITHIN_S, exit=True)


async def run_parts(
    parts: list[Run], settings: Settings, stopping: Callable[[], None] = lambda: None
) -> None:
    """Run parts side by side until SIGTERM, SIGINT or the end of any; then stop them all.

    Args:
        parts: what to run.
        settings: of the process.
        stopping: called once they are told to stop.

    Raises:
        Exception: the first error of a part, after all others have stopped.
    """
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def end() -> None:
        if not stop.is_set():
            stop.set()
            stopping()

    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, end)

    async def run(part: Run) -> None:
        try:
            await part(settings, stop)
        finally:
            end()

    tasks = [asyncio.ensure_future(run(part)) for part in parts]
    try:
        results = await asyncio.gather(*tasks, return_exceptions=True)
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)
    for result in results:
        if isinstance(result, BaseException):
            raise result
