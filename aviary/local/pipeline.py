"""The pipeline's part in the demo: it tells Kafka that versions should go out together."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Final

from aiokafka import AIOKafkaProducer

from schemas.deploy import DEPLOY_TYPE
from schemas.events import STRUCTURED_CONTENT_TYPE
from schemas.ids import TOPIC_DEPLOYS

_SOURCE: Final = "/pipeline/shop"


class Pipeline:
    """Writes deploy events as CloudEvents, structured mode, as any pipeline would."""

    def __init__(self, bootstrap: str) -> None:
        self._bootstrap = bootstrap
        self._producer: AIOKafkaProducer | None = None

    async def start(self) -> None:
        """Connect.

        Raises:
            aiokafka.errors.KafkaError: the broker can't be reached.
        """
        producer = AIOKafkaProducer(bootstrap_servers=self._bootstrap, acks="all")
        await producer.start()
        self._producer = producer

    async def close(self) -> None:
        """Disconnect, if connected."""
        if self._producer is not None:
            producer, self._producer = self._producer, None
            await producer.stop()

    async def request(
        self,
        release: str,
        services: Mapping[str, str],
        strategy: str | None = None,
        config: Mapping[str, Mapping[str, str]] | None = None,
        flags: Mapping[str, str] | None = None,
    ) -> bytes:
        """Ask for a release of these versions by service; returns the event once it is durable.

        Args:
            release: its id.
            services: versions by service.
            strategy: of all services; None: as the catalog says.
            config: environment of the versions of some services.
            flags: variants by feature flag, in the same release.

        Raises:
            RuntimeError: not connected.
            aiokafka.errors.KafkaError: the broker did not take it.
        """
        if self._producer is None:
            raise RuntimeError("pipeline: not connected; start it first")
        at = datetime.now(UTC)
        event = deploy_event(release, services, strategy, at=at, config=config, flags=flags)
        await self._producer.send_and_wait(
            TOPIC_DEPLOYS,
            value=event,
            key=release.encode(),
            headers=[("content-type", STRUCTURED_CONTENT_TYPE.encode())],
        )
        return event


def deploy_event(  # noqa: PLR0913 - what an event says
    release: str,
    services: Mapping[str, str],
    strategy: str | None,
    *,
    at: datetime,
    config: Mapping[str, Mapping[str, str]] | None = None,
    flags: Mapping[str, str] | None = None,
) -> bytes:
    """A deploy event on the wire."""
    settings = {name: {"config": dict(one)} for name, one in (config or {}).items()}
    document = {
        "specversion": "1.0",
        "type": DEPLOY_TYPE,
        "source": _SOURCE,
        "id": str(uuid.uuid4()),
        "time": at.isoformat(),
        "data": {
            "release": release,
            "services": [
                *(
                    {"service": name, "version": version, **settings.get(name, {})}
                    for name, version in services.items()
                ),
                *({"flag": name, "to": variant} for name, variant in (flags or {}).items()),
            ],
            "strategy": strategy,
            "labels": {},
        },
    }
    return json.dumps(document).encode()
