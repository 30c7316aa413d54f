"""What the commands over releases share: how one is named, and how Temporal is reached."""

from __future__ import annotations

import asyncio
import getpass
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from aviary.cli.options import checked

if TYPE_CHECKING:
    from aviary.releases.remote import Releases
    from aviary.settings import Settings

_T = TypeVar("_T")


def _release_id(value: str | None) -> str | None:
    from schemas.base import ReleaseId  # noqa: PLC0415 - keeps --help fast

    return checked("RELEASE", value, ReleaseId)


def service_name(value: str | None) -> str | None:
    """The value of `--service`, if it is a name."""
    from schemas.base import ServiceName  # noqa: PLC0415 - keeps --help fast

    return checked("--service", value, ServiceName)


def _runs(incomplete: str) -> list[str]:
    from aviary.cli.completion import running  # noqa: PLC0415 - only when a shell asks

    return running(incomplete)


def _is_known(incomplete: str) -> list[str]:
    from aviary.cli.completion import known  # noqa: PLC0415 - only when a shell asks

    return known(incomplete)


_RELEASE: dict[str, Any] = {
    "help": "The release id.",
    "metavar": "RELEASE",
    "callback": _release_id,
}
ReleaseArgument = Annotated[str, typer.Argument(**_RELEASE, autocompletion=_is_known)]
RunningArgument = Annotated[str, typer.Argument(**_RELEASE, autocompletion=_runs)]


def login() -> str:
    """Who gives a command, where nobody else is named."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):  # a container may run as a user without a name
        return "unknown"


def temporal_settings(address: str | None, namespace: str | None) -> Settings:
    """The settings, with Temporal where the command line says."""
    from aviary.settings import load_settings  # noqa: PLC0415

    return load_settings(temporal_address=address, temporal_namespace=namespace)


def with_releases(settings: Settings, use: Callable[[Releases], Awaitable[_T]]) -> _T:
    """Use the releases of these settings."""
    from aviary.releases.remote import Releases  # noqa: PLC0415 - brings in Temporal's SDK

    async def run() -> _T:
        return await use(await Releases.connect(settings))

    return asyncio.run(run())
