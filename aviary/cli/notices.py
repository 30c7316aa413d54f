"""`aviary notices`: see and try who is told what, where the settings of a worker are."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aviary.cli.border import print_json, say
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import CatalogOption, Format, FormatOption
from schemas.outside import one_line

if TYPE_CHECKING:
    from aviary.channels import Addresses
    from schemas.notice import NoticeRule

notices = typer.Typer(help="Who is told what.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    notices.command()(check)
    notices.command("test")(try_out)
    app.add_typer(notices, name="notices")


def check(catalog: CatalogOption = None, output: FormatOption = Format.TABLE) -> None:
    """Show the channels and what each is told; exit code 2 if the catalog names unknown ones."""
    from aviary.channels import open_channels  # noqa: PLC0415 - keeps --help fast
    from aviary.connections import read_connections  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415
    from schemas.catalog_file import load_catalog  # noqa: PLC0415
    from schemas.notice import unknown_channels  # noqa: PLC0415

    settings = load_settings(catalog=catalog)
    channels = open_channels(settings, read_connections(settings))
    rules = load_catalog(settings.catalog).notices
    unknown = unknown_channels(rules, channels)
    shown = {
        name: {
            "addresses": [service_of(address) for address in channels.get(name, ())],
            "told": _told(name, rules),
        }
        for name in (*channels, *unknown)
    }
    if output is Format.JSON:
        print_json({"channels": shown, "unknown": list(unknown)})
    else:
        _print(shown)
    if unknown:
        text = "expected channels of AVIARY_NOTIFY_CHANNELS or AVIARY_NOTIFY_FILE, or connections"
        raise CommandError(
            ExitCode.BAD_INPUT, f"{settings.catalog}: notices: got {', '.join(unknown)}, {text}"
        )


def service_of(address: object) -> str:
    """What an address is, for a person, such as `Slack`."""
    return str(getattr(address, "service", type(address).__name__))


def _told(name: str, rules: tuple[NoticeRule, ...] | None) -> list[str]:
    if rules is None:
        return ["everything"]
    return [_words(rule) for rule in rules if rule.channel == name]


def _words(rule: NoticeRule) -> str:
    kinds = ", ".join(rule.kinds) if rule.kinds else "everything"
    least = "" if rule.at_least == "info" else f", {rule.at_least} or worse"
    return f"{kinds}{least}{f', of {chr(44).join(rule.services)}' if rule.services else ''}"


def _print(shown: dict[str, dict[str, Any]]) -> None:
    if not shown:
        say("no channels: notices are in the worker's log only")
    for name, channel in shown.items():
        where = ", ".join(channel["addresses"]) or "not in the settings"
        say(f"{name}: {where}: {'; '.join(channel['told']) or 'nothing'}")


def try_out(
    channel: Annotated[
        str | None, typer.Option("--channel", help="Which channel; default: all of them.")
    ] = None,
) -> None:
    """Send one notice to a channel, or to all; exit code 1 if one does not take it."""
    from aviary.channels import open_channels  # noqa: PLC0415
    from aviary.connections import read_connections  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415

    settings = load_settings()
    channels = open_channels(settings, read_connections(settings))
    if not channels or (channel is not None and channel not in channels):
        known = ", ".join(channels) or "none is set"
        text = f"--channel: got {channel or 'none'}, expected a channel of the settings: {known}"
        raise CommandError(ExitCode.BAD_INPUT, text)
    wanted = {name: each for name, each in channels.items() if channel in {None, name}}
    failed = asyncio.run(_send(wanted))
    if failed:
        raise CommandError(ExitCode.FAILURE, "\n".join(map(one_line, failed)), lines=True)


async def _send(channels: Addresses) -> list[str]:
    from datetime import UTC, datetime  # noqa: PLC0415

    from adapters.errors import Retryable  # noqa: PLC0415
    from schemas.event_kinds import NoticeKind  # noqa: PLC0415
    from schemas.notice import Notice  # noqa: PLC0415

    text = "A test of this channel: no release, and nothing to do."
    notice = Notice(kind=NoticeKind.STARTED, release="test", text=text, at=datetime.now(UTC))
    failed = []
    for name, addresses in channels.items():
        for address in addresses:
            try:
                await address.notify(notice)
            except Retryable as error:
                failed.append(str(error))
            else:
                say(f"{name}: {service_of(address)} took it")
    return failed
