"""How Aviary's processes reach Temporal and Kafka, from the settings."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any, TypeVar

import structlog
from temporalio.client import Client, Interceptor
from temporalio.runtime import Runtime
from temporalio.service import RPCError, TLSConfig

from adapters.backoff import doubling
from adapters.errors import Retryable
from adapters.kafka import KafkaOptions
from aviary.access_settings import secret_of
from aviary.converter import DATA_CONVERTER
from aviary.settings import Settings

_T = TypeVar("_T")
_log = structlog.get_logger("aviary.connect")


async def connect_temporal(
    settings: Settings,
    interceptors: Sequence[Interceptor] = (),
    runtime: Runtime | None = None,
) -> Client:
    """Connect to Temporal with the data converter that all of Aviary uses.

    Args:
        settings: where Temporal is.
        interceptors: of the client, and of the workers that use it.
        runtime: of the SDK; its own if left out.

    Raises:
        Retryable: Temporal could not be reached.
    """
    key = secret_of(settings, "temporal_api_key")
    try:
        return await Client.connect(
            settings.temporal_address,
            namespace=settings.temporal_namespace,
            api_key=key.get_secret_value() if key else None,
            tls=_temporal_tls(settings),
            data_converter=DATA_CONVERTER,
            interceptors=interceptors,
            runtime=runtime,
        )
    except (RuntimeError, ValueError) as error:  # the SDK has no type of its own for this
        raise Retryable(f"Temporal at {settings.temporal_address}: {error}") from error


def _temporal_tls(settings: Settings) -> bool | TLSConfig:
    """How Temporal's server is trusted and what it is shown.

    Raises:
        Retryable: a file can't be read (it was there at start).
    """
    if not settings.temporal_tls:
        return False

    def read(file: Path | None) -> bytes | None:
        try:
            return file.read_bytes() if file else None
        except OSError as error:
            raise Retryable(f"{file}: {error.strerror}") from error

    certificate = read(settings.temporal_cert_file)
    return TLSConfig(
        server_root_ca_cert=read(settings.temporal_ca_file),
        domain=settings.temporal_server_name,
        client_cert=certificate,
        client_private_key=read(settings.temporal_key_file) or certificate,
    )


async def check_temporal(client: Client) -> None:
    """Ask Temporal whether it is there.

    Raises:
        Retryable: it is not.
    """
    try:
        healthy = await client.service_client.check_health(timeout=timedelta(seconds=2))
    except RPCError as error:
        raise Retryable(f"Temporal: {error.status.name}: {error.message}") from error
    if not healthy:
        raise Retryable("Temporal: says that it is not serving")


def kafka_options(settings: Settings) -> KafkaOptions:
    """Return the settings that concern Kafka.

    Raises:
        Retryable: the file of the password can't be read.
    """
    return KafkaOptions(
        bootstrap=settings.kafka_bootstrap,
        idempotent=settings.kafka_idempotent,
        partitions=settings.topic_partitions,
        replication=settings.topic_replication,
        security=settings.kafka_security,
        sasl_mechanism=settings.kafka_sasl_mechanism,
        sasl_user=settings.kafka_sasl_user,
        sasl_password=secret_of(settings, "kafka_sasl_password"),
        ca_file=settings.kafka_ca_file,
        cert_file=settings.kafka_cert_file,
        key_file=settings.kafka_key_file,
    )


async def retry_until_available(what: str, attempt: Callable[[], Awaitable[_T]]) -> _T:
    """Repeat an attempt with a capped backoff until it does not raise `Retryable`."""
    delays = doubling()
    while True:
        try:
            return await attempt()
        except Retryable as error:
            delay = next(delays)
            _log.warning("waiting", waits_for=what, error=str(error), delay_s=delay)
        await asyncio.sleep(delay)


async def unless(stop: asyncio.Event, work: Coroutine[Any, Any, _T]) -> _T | None:
    """Do some work; give it up, and return None, when `stop` is set first."""
    working = asyncio.create_task(work)
    stopping = asyncio.create_task(stop.wait())
    try:
        await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        return working.result() if working.done() else None
    finally:
        for task in (working, stopping):
            task.cancel()
        await asyncio.gather(working, stopping, return_exceptions=True)
