"""Hooks that are a command: run to its end with the image and configuration of the version.

Here belongs what the command is told, and how its end is read. Where it runs does not: that is the
service's deployer (`adapters/ports/deploying.py`).
"""

from __future__ import annotations

import string
from typing import TYPE_CHECKING, Annotated, Final

from pydantic import AfterValidator, Field

from adapters.connections import Connection
from adapters.kinds import HookKind
from schemas.base import Model
from schemas.hooks import RUN as NAME

if TYPE_CHECKING:
    from adapters.hooks.run.caller import RunHook

PLACES: Final = (
    *("service", "version", "stable", "release", "environment"),
    *("hook", "moment", "step", "weight"),
)
"""What may stand in braces in a command."""
_WORDS_MOST: Final = 100
_BYTES_MOST: Final = 16_384


def _known_places(text: str) -> str:
    known = ", ".join(f"{{{name}}}" for name in PLACES)
    try:
        parts = list(string.Formatter().parse(text))
    except ValueError:
        raise ValueError(f"expected only {known} in braces, and {{{{ for a brace") from None
    for _, name, form, how in parts:
        if name is not None and (name not in PLACES or form or how):
            raise ValueError(f"expected only {known} in braces, and {{{{ for a brace")
    if "\0" in text:
        raise ValueError("expected text without a null character")
    return text


def _short(words: tuple[str, ...]) -> tuple[str, ...]:
    if sum(len(word.encode()) for word in words) > _BYTES_MOST:
        raise ValueError(f"expected at most {_BYTES_MOST:,} bytes of a command")
    if not words[0]:
        raise ValueError("expected a program as the first word")
    return words


_Word = Annotated[str, Field(max_length=_BYTES_MOST), AfterValidator(_known_places)]


class RunOptions(Model):
    """What a catalog says beside `kind: run`."""

    command: Annotated[tuple[_Word, ...], AfterValidator(_short)] = Field(
        min_length=1,
        max_length=_WORDS_MOST,
        description="Program and arguments, as the version's image has them; no shell. In braces: "
        f"{', '.join(PLACES)}.",
    )


def _make(options: RunOptions, _: object, __: object) -> RunHook:
    from adapters.hooks.run.caller import RunHook  # noqa: PLC0415 - as every kind

    return RunHook(options.command)


RUN: Final = HookKind[RunOptions, Connection](
    name=NAME,
    text="A command, run once with the image and configuration of the version; its exit code is "
    "the answer.",
    options=RunOptions,
    make=_make,
)
