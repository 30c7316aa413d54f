"""flagd's flag definitions, as a kind of router: the versions of a flag are its variants.

Here belongs all that knows flagd's file, its targeting rules and how they are evaluated. Nothing of
another router does, and nothing that decides.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

from pydantic import Field

from adapters.connections import Connection
from adapters.kinds import RouterKind, Shared
from adapters.ports import Router
from adapters.routers.flagd.capabilities import CAPABILITIES
from schemas.base import Model


class FlagdOptions(Model):
    """A flag in a file of flag definitions."""

    file: str = Field(
        min_length=2,
        max_length=4096,
        pattern=r"^/[^\x00-\x1f\x7f]*\.json$",
        description="Path of the JSON file with the flag definitions, from the root.",
    )
    flag: str | None = Field(
        default=None,
        min_length=1,
        max_length=200,
        pattern=r"^[^\x00-\x1f\x7f]+$",
        description="Key of the flag; left out: the name of the service.",
    )


def _make(options: FlagdOptions, _: Connection | None, __: Shared) -> Router:
    from adapters.routers.flagd.router import FlagdRouter  # noqa: PLC0415 - its library is heavy

    return FlagdRouter(Path(options.file), options.flag)


FLAGD: Final = RouterKind[FlagdOptions, Connection](
    name="flagd",
    text="A feature flag in flagd's file of flag definitions: variants are released as versions.",
    options=FlagdOptions,
    make=_make,
    capabilities=CAPABILITIES,
)
