"""Options that several commands share, and how results are printed."""

from __future__ import annotations

from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer


class Format(StrEnum):
    """How a result is printed on stdout."""

    TABLE = "table"
    JSON = "json"


FormatOption = Annotated[Format, typer.Option("--format", help="How to print the result.")]
CatalogOption = Annotated[
    Path | None,
    typer.Option("--catalog", "-c", help="The catalog; default: AVIARY_CATALOG or catalog.yaml."),
]
AddressOption = Annotated[
    str | None,
    typer.Option("--address", help="host:port of Temporal; default: AVIARY_TEMPORAL_ADDRESS."),
]
NoColorOption = Annotated[
    bool, typer.Option("--no-color", help="Plain text; so does NO_COLOR in the environment.")
]
NamespaceOption = Annotated[
    str | None,
    typer.Option("--namespace", help="Namespace; default: AVIARY_TEMPORAL_NAMESPACE."),
]

ByOption = Annotated[str | None, typer.Option("--by", help="Who says it; default: login name.")]
ReasonOption = Annotated[str, typer.Option("--reason", "-r", help="Why; recorded.")]
PatienceOption = Annotated[
    float, typer.Option("--timeout", min=0.1, max=600, help="Seconds to wait for an answer.")
]


def checked(name: str, value: str | None, kind: Any) -> str | None:
    """A value of the command line that must be of a kind of `schemas.base`.

    Raises:
        typer.BadParameter: it is not (exit code 2).
    """
    from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415 - keeps --help fast

    if value is None:
        return None
    try:
        TypeAdapter(kind).validate_python(value)
    except ValidationError as error:
        said = error.errors()[0]["msg"]
        raise typer.BadParameter(f"{name}: got {value!r}: {said}") from None
    return value


def duration(name: str, text: str) -> timedelta:
    """A duration of the command line, such as 90s or 1h30m.

    Raises:
        typer.BadParameter: it is none (exit code 2).
    """
    from schemas.base import parse_duration  # noqa: PLC0415 - keeps --help fast

    try:
        return parse_duration(text)
    except ValueError as error:
        raise typer.BadParameter(f"{name}: got {text!r}: {error}") from None
