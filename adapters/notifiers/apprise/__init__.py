"""Apprise, as a kind of notifier.

Here belongs what its library needs. How a notice reads does not (`adapters.notifiers.message`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Final

from pydantic import SecretStr

from adapters.connections import Connection
from adapters.kinds import NotifierKind
from adapters.secrets import Secret

if TYPE_CHECKING:
    from adapters.links import Links
    from adapters.notifiers.apprise.notifier import AppriseNotifier


class AppriseConnection(Connection):
    """One address: an Apprise URL, which holds the secrets of its service."""

    connection_kind: ClassVar[str] = "apprise"

    url: Secret


def _make(name: str, connection: AppriseConnection, links: Links) -> AppriseNotifier:
    # It takes a second, and most installations start without.
    from adapters.notifiers.apprise.notifier import AppriseNotifier  # noqa: PLC0415

    return AppriseNotifier(name, SecretStr(connection.url.read()), links)


APPRISE: Final = NotifierKind[AppriseConnection](
    name="apprise",
    text="Slack, Teams, mail, PagerDuty, webhooks and a hundred more, by an Apprise URL.",
    connection=AppriseConnection,
    needs_connection=True,
    make=_make,
)
