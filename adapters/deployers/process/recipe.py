"""The recipe of a version that is a process: how it is started, when it is ready, how it ends."""

from __future__ import annotations

import string
from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, model_validator

from schemas.base import Duration, Model, SomeDuration
from schemas.deployment import Config
from schemas.outside import is_secret

PLACES: Final = ("port", "service", "version", "host")
"""What may stand in braces in a command: each instance has its own."""
_OURS: Final = "AVIARY_"

_Path = Annotated[str, Field(min_length=1, max_length=4_096)]


def _filled(text: str, values: Mapping[str, str]) -> str:
    """A text with its placeholders filled in; `{{` is a brace."""
    return string.Formatter().vformat(text, (), values)


def _known_places(text: str) -> str:
    try:
        names = [name for _, name, _, _ in string.Formatter().parse(text) if name is not None]
    except ValueError:
        names = ["?"]
    if unknown := [name for name in names if name not in PLACES]:
        known = ", ".join(f"{{{name}}}" for name in PLACES)
        got = f"{{{unknown[0]}}}"
        raise ValueError(f"expected only {known} in braces, and {{{{ for a brace, got {got}")
    return text


_Word = Annotated[str, Field(max_length=8_192), AfterValidator(_known_places)]


def _plain_names(environment: dict[str, str]) -> dict[str, str]:
    for name in environment:
        if name.startswith(_OURS):
            raise ValueError(f"expected names that don't begin with {_OURS}, got {name}")
    return environment


def _no_secrets(environment: dict[str, str]) -> dict[str, str]:
    for name in environment:
        if is_secret(name.lower()):
            raise ValueError(f"expected no secret: {name} belongs in env_from, as a file")
    return environment


class Readiness(Model):
    """When an instance is ready; one of these."""

    http: str | None = Field(
        default=None, pattern=r"^/[!-~]{0,500}$", description="Path that answers with 2xx."
    )
    tcp: bool = Field(default=False, description="Whether a connection to its port is enough.")
    seconds: float | None = Field(
        default=None, gt=0, le=3_600, description="Only time, in which it does not end."
    )

    @model_validator(mode="after")
    def _one_of_them(self) -> Self:
        if [self.http is not None, self.tcp, self.seconds is not None].count(True) != 1:
            raise ValueError("expected exactly one of http, tcp and seconds")
        return self


class ProcessRecipe(Model):
    """How the instances of a service are started on this machine."""

    command: tuple[_Word, ...] = Field(
        min_length=1,
        max_length=200,
        description="Program and arguments; {port}, {version}, {service} and {host} are filled in.",
    )
    cwd: _Path | None = Field(default=None, description="Folder that it starts in.")
    env: Annotated[Config, AfterValidator(_plain_names), AfterValidator(_no_secrets)] = Field(
        default_factory=dict, description="Environment beside PORT and what AVIARY_ names say."
    )
    env_from: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")], _Path],
        AfterValidator(_plain_names),
        Field(max_length=100),
    ] = Field(
        default_factory=dict,
        description="Files whose content is the value of a variable, read at each start: secrets.",
    )
    ready: Readiness = Field(default=Readiness(tcp=True), description="When it is ready.")
    drain: Duration = Field(
        default=timedelta(seconds=2),
        description="From when no request goes there until it is told to end.",
    )
    grace: SomeDuration = Field(
        default=timedelta(seconds=10),
        description="From SIGTERM until it is killed, with all that it has started.",
    )

    def filled(self, values: Mapping[str, str]) -> list[str]:
        """The command of one instance.

        Args:
            values: of all `PLACES`.
        """
        return [_filled(word, values) for word in self.command]


def environment_of(env: Mapping[str, str], inherited: Mapping[str, str]) -> dict[str, str]:
    """What a process gets of the worker's environment, and its own.

    The worker's own has addresses and secrets in it: only what programs can't do without passes.
    """
    kept = {name: inherited[name] for name in _INHERITED if name in inherited}
    return {**kept, **env}


_INHERITED: Final = ("PATH", "HOME", "USER", "LOGNAME", "LANG", "LC_ALL", "TZ", "TMPDIR", "SHELL")
