"""Reads a deploy event from a file or stdin, as the bridge would read it from Kafka."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import ValidationError

from aviary.cli.failing import CommandError, ExitCode
from schemas.catalog_check import listed
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
    value = event_bytes(path)
    data = load_json(value)
    if isinstance(data, dict) and "specversion" in data:
        event = parse_deploy(value)
        return Asked(event.deploy, event.origin, event.environment, event.images)
    return Asked(_deploy(data, str(path)))


def deploy_from_options(  # noqa: PLR0913, PLR0917 - one parameter an option
    release: str,
    services: list[str],
    images: list[str],
    config: list[str],
    strategy: str | None,
    labels: list[str],
) -> DeployRequested:
    """Make a deploy request from options.

    Args:
        release: its id.
        services: such as `checkout=1.4.2`.
        images: such as `checkout=registry.example/checkout:1.4.2`.
        config: such as `checkout:LOG_LEVEL=debug`.
        strategy: of all services.
        labels: such as `team=shop`.

    Raises:
        CommandError: a text of another form, one thing said twice, a service that is not among
            `services`, or a value out of range.
    """
    asked: dict[str, dict[str, Any]] = {}
    pairs = [_pair("--service", text, "checkout=1.4.2") for text in services]
    for service, _ in pairs:
        asked[service] = {}
    for text in images:
        service, image = _pair("--image", text, "checkout=registry.example/checkout:1.4.2")
        _say(_of(asked, "--image", service), "image", image, f"--image {service}")
    for text in config:
        service, name, value = _setting(text)
        settings = _of(asked, "--config", service).setdefault("config", {})
        _say(settings, name, value, f"--config {service}:{name}")
    return _deploy(
        {
            "release": release,
            "services": [
                {"service": service, "version": version, **asked[service]}
                for service, version in pairs
            ],
            "strategy": strategy,
            "labels": dict(_pair("--label", text, "team=shop") for text in labels),
        },
        "release start",
    )


def event_bytes(path: Path) -> bytes:
    """A file, or stdin for `-`.

    Raises:
        CommandError: it can't be read, or is too large.
    """
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


def _setting(text: str) -> tuple[str, str, str]:
    """Service, name and value of a `--config`; the value may be empty."""
    named, separator, value = text.partition("=")
    service, _, name = named.partition(":")
    if not (service and name and separator):
        expected = "checkout:LOG_LEVEL=debug"
        raise CommandError(ExitCode.BAD_INPUT, f"--config: got '{text}', expected {expected}")
    return service, name, value


def _of(asked: dict[str, dict[str, Any]], option: str, service: str) -> dict[str, Any]:
    """What is asked of a service that has a version."""
    if service not in asked:
        text = f"{option}: got {service}, expected one of the --service options: {listed(asked)}"
        raise CommandError(ExitCode.BAD_INPUT, text)
    return asked[service]


def _say(into: dict[str, Any], name: str, value: str, option: str) -> None:
    if name in into:
        raise CommandError(ExitCode.BAD_INPUT, f"{option}: expected once, is there twice")
    into[name] = value
