"""How all processes write to Temporal and read from it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

from aviary.converter import DATA_CONVERTER, SharedPayloads
from schemas.alert import Alert, AlertStatus

ALERT = Alert(
    status=AlertStatus.FIRING,
    fingerprint="f",
    labels={"alertname": "Errors"},
    starts_at=datetime(2026, 1, 1, tzinfo=UTC),
)


def test_the_converters_of_two_runs_make_no_adapter_twice() -> None:
    assert DATA_CONVERTER.payload_converter_class is SharedPayloads
    one, other = SharedPayloads(), SharedPayloads()
    assert one is not other
    assert [id(part) for part in one.converters.values()] == [
        id(part) for part in other.converters.values()
    ]


def test_runs_may_use_them_at_once() -> None:
    [payload] = SharedPayloads().to_payloads([ALERT])

    def read(_: int) -> list[object]:
        return SharedPayloads().from_payloads([payload], [Alert])

    with ThreadPoolExecutor(8) as threads:
        assert all(found == [ALERT] for found in threads.map(read, range(200)))
