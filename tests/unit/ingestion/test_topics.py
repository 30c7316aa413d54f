from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from adapters import kafka
from adapters.errors import AdapterError, Retryable, Terminal
from adapters.kafka import KafkaOptions, ensure_topics
from schemas import ids

OPTIONS = KafkaOptions(bootstrap="kafka:9092", partitions=6, replication=3)


class _Admin:
    """Answers with one error code for every topic that it is asked to create."""

    code = 0
    there: tuple[str, ...] = ()

    def __init__(self, **_kwargs: Any) -> None:
        self.created: list[Any] = []

    async def start(self) -> None: ...

    async def close(self) -> None: ...

    async def list_topics(self) -> list[str]:
        return list(self.there)

    async def create_topics(self, topics: list[Any], **_kwargs: Any) -> Any:
        _created.extend(topics)
        return SimpleNamespace(topic_errors=[(t.name, self.code, "why") for t in topics])


_created: list[Any] = []


@pytest.fixture(autouse=True)
def _fake(monkeypatch: pytest.MonkeyPatch) -> None:
    _created.clear()
    monkeypatch.setattr(kafka, "AIOKafkaAdminClient", _Admin)
    monkeypatch.setattr(_Admin, "code", 0)
    monkeypatch.setattr(_Admin, "there", ())


async def test_they_are_made_as_the_settings_say() -> None:
    assert await ensure_topics(OPTIONS) == kafka.TOPICS
    assert {(t.num_partitions, t.replication_factor) for t in _created} == {(6, 3)}
    # A dead letter is larger than its original.
    sizes = {topic.name: topic.topic_configs.get("max.message.bytes") for topic in _created}
    assert [name for name, size in sizes.items() if size] == [ids.TOPIC_DEADLETTERS]


async def test_where_all_are_there_nothing_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Admin, "there", kafka.TOPICS)
    assert await ensure_topics(OPTIONS) == ()
    assert not _created


@pytest.mark.parametrize(
    ("code", "kind", "name"),
    [
        (29, Terminal, "TopicAuthorizationFailedError"),
        (31, Terminal, "ClusterAuthorizationFailedError"),
        (38, Terminal, "InvalidReplicationFactorError"),
        (44, Terminal, "PolicyViolationError"),
        (41, Retryable, "NotControllerError"),
        (7, Retryable, "RequestTimedOutError"),
    ],
)
async def test_a_refusal_says_what_to_do(
    monkeypatch: pytest.MonkeyPatch, code: int, kind: type[AdapterError], name: str
) -> None:
    monkeypatch.setattr(_Admin, "code", code)
    with pytest.raises(kind) as caught:
        await ensure_topics(OPTIONS)
    text = str(caught.value)
    for word in (ids.TOPIC_DEPLOYS, name, "6 partitions", "replication 3", "create it yourself"):
        assert word in text


async def test_somebody_else_was_faster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_Admin, "code", 36)
    assert await ensure_topics(OPTIONS) == kafka.TOPICS
    assert [topic.name for topic in _created] == list(kafka.TOPICS), "they were asked for"
