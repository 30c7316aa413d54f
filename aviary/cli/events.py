"""Reads a deploy event from a file or stdin, as the bridge would read it from Kafka."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from aviary.cli.failing import CommandError, ExitCode
from schemas.deploy import DeployRequested, Images, parse_deploy
from schemas.files import UnreadableError, bounded, read_bounded
from schemas.rejection import explain, load_json

STDIN = Path("-")
MOST_EVENT_BYTES = 4_000_000
"""More than a topic takes."""


class Asked(NamedTuple):
    """What shall be released, and what the event's envelope says; nothing for bare data."""

    deploy: DeployRequested
    source: str = ""
    environment: str | None = None
    images: Images = Images.ORDERED


def read_event(path: Path) -> Asked:
    """Read a structured CloudEvent, or only its data.

    Args:
        path: a file, or `-` for stdin.

    Raises:
        CommandError: the file can't be read.
        schemas.rejection.Rejected: it is no deploy event.
    """
    value = _bytes(path)
    data = load_json(value)
    if isinstance(data, dict) and "specversion" in data:
        event = parse_deploy(value)
        return Asked(event.deploy, event.origin, event.environment, event.images)
    return Asked(_deploy(data, str(path)))


def deploy_from_options(
    release: str, services: list[str], strategy: str | None, labels: list[str]
) -> DeployRequested:
    """Make a deploy request from `--service checkout=1.4.2` and `--label team=shop`.

    Raises:
        CommandError: a text without `=`, a service twice, or a value out of range.
    """
    pairs = [_pair("--service", text, "checkout=1.4.2") for text in services]
    return _deploy(
        {
            "release": release,
            "services": [{"service": service, "version": version} for service, version in pairs],
            "strategy": strategy,
            "labels": dict(_pair("--label", text, "team=shop") for text in labels),
        },
        "release start",
    )


def _bytes(path: Path) -> bytes:
    try:
        if path == STDIN:
            return bounded(sys.stdin.buffer, MOST_EVENT_BYTES)
        return read_bounded(path, MOST_EVENT_BYTES)
    except UnreadableError as error:
        text = f"--event: got '{path}', expected {error}"
        raise CommandError(ExitCode.BAD_INPUT, text) from None


def _deploy(data: object, where: str) -> DeployRequested:
    try:
        return DeployRequested.model_validate(data)
    except ValidationError as error:
        raise CommandError(ExitCode.BAD_INPUT, f"{where}: {explain(error)}") from None


def _pair(option: str, text: str, example: str) -> tuple[str, str]:
    key, separator, value = text.partition("=")
    if not (key and separator and value):
        raise CommandError(ExitCode.BAD_INPUT, f"{option}: got '{text}', expected {example}")
    return key, value
