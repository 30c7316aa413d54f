"""The metrics source of the settings, made of its kind and its connection."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from adapters.connections import Connection
from adapters.errors import AdapterError
from adapters.http_connection import HttpConnection
from adapters.kinds import MetricsKind, Source
from aviary.access_settings import http_access
from aviary.discreet import discreet
from aviary.registry import BrokenKindError, Registry
from aviary.settings import Settings, SettingsError
from schemas.catalog_check import listed, nearest


def make_source(
    settings: Settings, registry: Registry, connections: Mapping[str, Connection]
) -> tuple[MetricsKind[Any], Source]:
    """Make the metrics source of the settings; return its kind as well.

    Its connection is the one that the settings name, or what `AVIARY_PROMETHEUS_…` say.

    Raises:
        SettingsError: there is no such kind or connection, or it can't be made.
    """
    kind = _kind(settings.metrics_source, registry)
    connection = _connection(settings, kind, connections)
    try:
        source = kind.make(connection, settings.prometheus_timeout_s)
        return kind, discreet(source, connection)
    except AdapterError as error:
        raise SettingsError(_told(kind.name, str(error), connection)) from None
    except Exception as error:  # noqa: BLE001 - other people's code, which may raise anything
        raise SettingsError(_told(kind.name, repr(error), connection)) from None


def _told(name: str, text: str, connection: Connection) -> str:
    return f"AVIARY_METRICS_SOURCE: {name!r} can't be made: {connection.hide(text)}"


def _kind(name: str, registry: Registry) -> MetricsKind[Any]:
    known = registry.metrics
    if name not in known.names:
        expected = f"one of: {listed(known.names)}{nearest(name, known.names)}"
        raise SettingsError(f"AVIARY_METRICS_SOURCE: got {name!r}, expected {expected}")
    try:
        return known.get(name)
    except BrokenKindError as error:
        raise SettingsError(f"AVIARY_METRICS_SOURCE: {name!r} can't be used: {error}") from None


def _connection(
    settings: Settings, kind: MetricsKind[Any], connections: Mapping[str, Connection]
) -> Connection:
    model, name = kind.connection or Connection, settings.metrics_connection
    if name is not None:
        fitting = [known for known, one in connections.items() if isinstance(one, model)]
        if name not in fitting:
            what = f"a connection of kind {model.connection_kind} of AVIARY_CONNECTIONS_FILE"
            expected = f"{what} ({listed(fitting) or 'there is none'}){nearest(name, fitting)}"
            raise SettingsError(f"AVIARY_METRICS_CONNECTION: got {name!r}, expected {expected}")
        return connections[name]
    if not issubclass(model, HttpConnection) or "url" not in model.model_fields:
        text = f"missing, expected a connection for AVIARY_METRICS_SOURCE={kind.name}"
        raise SettingsError(f"AVIARY_METRICS_CONNECTION: {text}")
    access = http_access(settings, "prometheus")
    given = {
        "url": settings.prometheus_url,
        "user": access.user,
        "password": access.password,
        "token": access.token,
        "ca_file": access.tls.ca,
        "cert_file": access.tls.cert,
        "key_file": access.tls.key,
    }
    try:
        return model.model_validate({name: one for name, one in given.items() if one is not None})
    except ValidationError as error:
        said = "; ".join(one["msg"] for one in error.errors(include_url=False))
        raise SettingsError(f"AVIARY_PROMETHEUS_URL: (hidden): {said}") from None
