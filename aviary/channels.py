"""Channels of notices: where each leads (a secret of the settings), and who is told what."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping
from typing import Any, Final

import structlog
from pydantic import SecretStr, TypeAdapter, ValidationError

from adapters.connections import Connection
from adapters.errors import Retryable
from adapters.kinds import NotifierKind
from adapters.links import Links
from adapters.notifiers.fan_out import FanOut
from adapters.notifiers.log import LogNotifier
from adapters.ports import Notifier
from aviary.connections import VARIABLE
from aviary.discreet import discreet
from aviary.kinds import registry
from aviary.routers import NO_CONNECTIONS
from aviary.settings import Settings, SettingsError
from schemas.catalog import Catalog
from schemas.files import UnreadableError, decoded, read_regular
from schemas.notice import ChannelName, Notice, Severity, channels_for, unknown_channels

Addresses = Mapping[str, tuple[Notifier, ...]]
"""By channel."""
BY_URL: Final = "apprise"
"""The kind of notifier that a line `channel = url` is of."""

_NAME: TypeAdapter[str] = TypeAdapter(ChannelName)
_MOST_BYTES = 100_000
_LINE = re.compile(r"([^=\s]+)\s*=\s*(\S.*)")
_log = structlog.get_logger("aviary.notices")


def parse_channels(text: str) -> dict[str, tuple[SecretStr, ...]]:
    """Read lines `channel = url`; a channel of several lines has several addresses.

    Empty lines, and those that begin with `#`, count for nothing.

    Raises:
        ValueError: a line is wrong; names the line, and nothing of what is in it.
    """
    found: dict[str, tuple[SecretStr, ...]] = {}
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        parts = _LINE.fullmatch(line.strip())
        name = parts[1] if parts else ""
        try:
            _NAME.validate_python(name)
        except ValidationError:
            parts = None
        if parts is None:
            raise ValueError(f"line {number}: expected channel = url (it is not shown)")
        found[name] = (*found.get(name, ()), SecretStr(parts[2]))
    return found


def open_channels(
    settings: Settings, connections: Mapping[str, Connection] = NO_CONNECTIONS
) -> Addresses:
    """Make the addresses of every channel of the settings; nothing is sent.

    A channel is a line `channel = url`, or a connection of a kind that tells people.

    Raises:
        SettingsError: a line or an address is wrong; names the channel, never the address.
    """
    variable, text = _text(settings)
    try:
        channels = parse_channels(text)
    except ValueError as error:
        raise SettingsError(f"{variable}: {error}") from None
    known = registry().notifiers
    links = links_of(settings)
    found: dict[str, tuple[Notifier, ...]] = {}
    for name, urls in channels.items():
        kind = known.get(BY_URL)
        made = (_made(kind, name, {"url": url.get_secret_value()}, links, variable) for url in urls)
        found[name] = tuple(made)
    for name, connection in connections.items():
        for kind in known.usable():
            if type(connection) is kind.connection:
                if name in found:
                    text = f"{name}: expected another name, {variable} has such a channel"
                    raise SettingsError(f"{VARIABLE}: {text}")
                found[name] = (_make(kind, name, connection, links, VARIABLE),)
    return found


def _made(
    kind: NotifierKind[Any], name: str, written: Mapping[str, str], links: Links, variable: str
) -> Notifier:
    try:
        connection = (kind.connection or Connection).model_validate(written)
    except ValidationError:
        raise SettingsError(f"{variable}: {name}: expected a URL (it is not shown)") from None
    return _make(kind, name, connection, links, variable)


def _make(
    kind: NotifierKind[Any], name: str, connection: Connection, links: Links, variable: str
) -> Notifier:
    try:
        return discreet(kind.make(name, connection, links), connection)
    except Exception as error:  # noqa: BLE001 - other people's code, which may raise anything
        raise SettingsError(f"{variable}: {connection.hide(str(error))}") from None


def _text(settings: Settings) -> tuple[str, str]:
    if settings.notify_file is None:
        secret = settings.notify_channels
        return "AVIARY_NOTIFY_CHANNELS", secret.get_secret_value() if secret else ""
    try:
        content = read_regular(settings.notify_file, _MOST_BYTES)
        return "AVIARY_NOTIFY_FILE", decoded(content)
    except UnreadableError as error:
        text = f"AVIARY_NOTIFY_FILE: '{settings.notify_file}': expected {error}"
        raise SettingsError(text) from None


def links_of(settings: Settings) -> Links:
    """Where the pages about releases are."""
    ui, reports = settings.temporal_ui_url, settings.report_url
    return Links(ui, settings.temporal_namespace, reports, settings.in_cell)


def make_notifier(
    settings: Settings,
    catalog: Callable[[], Catalog],
    connections: Mapping[str, Connection] = NO_CONNECTIONS,
) -> FanOut:
    """The notifier of a worker: the log, and the channels as the catalog routes them.

    A catalog that names an unknown channel, or is not there, stops nothing: it is told in the log,
    since a rollback must never wait for either.

    Raises:
        SettingsError: a channel of the settings is wrong.
    """
    channels = open_channels(settings, connections)
    routing = Routing(catalog, channels)
    routing.check()
    return FanOut(LogNotifier(links_of(settings)), channels, routing)


class Routing:
    """Names the channels of a notice by the newest catalog."""

    def __init__(self, catalog: Callable[[], Catalog], known: Collection[str]) -> None:
        """Route by this catalog to these channels."""
        self._catalog = catalog
        self._known = known
        self._complained: set[str] = set()

    def check(self) -> None:
        """Say in the log which channels the catalog names and the settings don't have."""
        try:
            unknown = unknown_channels(self._catalog().notices, self._known)
        except Retryable as error:
            _log.warning("notices_not_routed", error=str(error))
            return
        for name in unknown:
            self._complain(name)

    def __call__(self, notice: Notice) -> Collection[str]:
        """The channels of a notice; without a catalog, all of them for what is severe."""
        try:
            rules = self._catalog().notices
        except Retryable as error:
            _log.warning("notices_not_routed", error=str(error))
            return self._known if notice.severity.is_at_least(Severity.WARNING) else ()
        wanted = channels_for(notice, rules, self._known)
        for name in sorted(wanted.difference(self._known)):
            self._complain(name)
        return wanted.intersection(self._known)

    def _complain(self, name: str) -> None:
        if name not in self._complained:
            self._complained.add(name)
            _log.error(
                "channel_unknown",
                channel=name,
                known=sorted(self._known),
                expected="a channel of AVIARY_NOTIFY_CHANNELS, AVIARY_NOTIFY_FILE or a connection",
            )
