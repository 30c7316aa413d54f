"""Asks Kafka how large a record of a topic may be."""

from __future__ import annotations

from typing import Any, Final

from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from adapters.errors import Retryable
from adapters.kafka import translate
from adapters.kafka_options import KafkaOptions

_SIZE: Final = "max.message.bytes"


async def largest_record(options: KafkaOptions, topic: str) -> int:
    """The `max.message.bytes` of a topic.

    Raises:
        Retryable: Kafka did not say: it is away, or we may not ask.
        Terminal: there is no such topic.
    """
    admin = AIOKafkaAdminClient(
        **options.client_arguments(),
        client_id="aviary-topics",
        request_timeout_ms=round(options.request_timeout_s * 1000),
    )
    try:
        try:
            await admin.start()
            answers = await admin.describe_configs(
                [ConfigResource(ConfigResourceType.TOPIC, topic, {_SIZE: ""})]
            )
        finally:
            await admin.close()
    except (kafka_errors.KafkaError, OSError) as error:
        raise translate(error, f"{_SIZE} of {topic}") from error
    return _read(topic, answers)


def _read(topic: str, answers: list[Any]) -> int:
    for answer in answers:
        for code, _, _, _, entries in answer.resources:
            error = kafka_errors.for_code(code)
            if error is not kafka_errors.NoError:
                raise translate(error(), f"{_SIZE} of {topic}")
            for name, value, *_ in entries:
                if name == _SIZE and value is not None and value.isdecimal():
                    return int(value)
    raise Retryable(f"{_SIZE} of {topic}: the broker did not say")
