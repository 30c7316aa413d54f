"""Asks Kafka how a topic is set: its largest record, and whether new records replace old ones."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from aiokafka import errors as kafka_errors
from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

from adapters.errors import Retryable
from adapters.kafka import translate
from adapters.kafka_options import KafkaOptions

_SIZE: Final = "max.message.bytes"
_CLEANUP: Final = "cleanup.policy"
_COMPACT: Final = "compact"


async def largest_record(options: KafkaOptions, topic: str) -> int:
    """The `max.message.bytes` of a topic.

    Raises:
        Retryable: Kafka did not say: it is away, or we may not ask.
        Terminal: there is no such topic.
    """
    value = (await _ask(options, [topic], _SIZE))[topic]
    if not value.isdecimal():
        raise Retryable(f"{_SIZE} of {topic}: got {value!r}, expected a number")
    return int(value)


async def compacted(options: KafkaOptions, topics: Sequence[str]) -> tuple[str, ...]:
    """Those of the topics in which a later record replaces an earlier one with the same key.

    Raises:
        Retryable: Kafka did not say: it is away, or we may not ask.
        Terminal: there is no such topic.
    """
    policies = await _ask(options, topics, _CLEANUP)
    return tuple(topic for topic, policy in policies.items() if _COMPACT in policy.split(","))


async def _ask(options: KafkaOptions, topics: Sequence[str], setting: str) -> dict[str, str]:
    admin = AIOKafkaAdminClient(
        **options.client_arguments(),
        client_id="aviary-topics",
        request_timeout_ms=round(options.request_timeout_s * 1000),
    )
    asked = [ConfigResource(ConfigResourceType.TOPIC, topic, {setting: ""}) for topic in topics]
    what = f"{setting} of {', '.join(topics)}"
    try:
        try:
            await admin.start()
            answers = await admin.describe_configs(asked)
        finally:
            await admin.close()
    except (kafka_errors.KafkaError, OSError) as error:
        raise translate(error, what) from error
    found = _read(answers, setting)
    if missing := [topic for topic in topics if topic not in found]:
        raise Retryable(f"{setting} of {', '.join(missing)}: the broker did not say")
    return found


def _read(answers: list[Any], setting: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for answer in answers:
        for code, _, _, topic, entries in answer.resources:
            error = kafka_errors.for_code(code)
            if error is not kafka_errors.NoError:
                raise translate(error(), f"{setting} of {topic}")
            values = [value for name, value, *_ in entries if name == setting and value]
            if values:
                found[topic] = values[0]
    return found
