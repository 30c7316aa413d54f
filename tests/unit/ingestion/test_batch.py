from __future__ import annotations

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from aviary.bridge.batch import AT_MOST, AT_MOST_BYTES, Item, Reach, chunks, request_id
from aviary.bridge.recently_seen import RecentlySeen
from schemas import ids
from schemas.alert import Alert, AlertStatus
from schemas.catalog import Catalog
from tests.unit.ingestion.fakes import Record


def _item(offset: int, index: int = 0, size: int = 0) -> Item:
    alert = Alert(
        status=AlertStatus.FIRING,
        fingerprint=f"f{offset}-{index}",
        labels={f"x{n}": "y" * 150 for n in range(size // 150)},
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
    )
    return Item(Record(b"", topic=ids.TOPIC_ALERTS, offset=offset), index, "checkout", alert)


@given(st.lists(st.sampled_from([0, 1_000, 7_000]), max_size=250))
def test_signals_have_all_alerts_in_order_and_keep_their_limits(sizes: list[int]) -> None:
    items = [_item(offset, size=size) for offset, size in enumerate(sizes)]
    found = list(chunks(items))
    assert [item for chunk in found for item in chunk] == items
    for chunk in found:
        assert 1 <= len(chunk) <= AT_MOST
        weight = sum(len(item.alert.model_dump_json().encode()) for item in chunk)
        assert len(chunk) == 1 or weight <= AT_MOST_BYTES


places = st.tuples(st.integers(0, 6), st.integers(0, 2))
some = st.lists(places, min_size=1, max_size=6, unique=True).map(sorted)


@given(some, some)
def test_signals_have_one_name_exactly_when_they_have_the_same_alerts(
    one: list[tuple[int, int]], other: list[tuple[int, int]]
) -> None:
    names = [request_id([_item(*place) for place in places]) for places in (one, other)]
    assert (names[0] == names[1]) == (one == other)


def test_a_signal_with_one_alert_is_named_after_its_record() -> None:
    assert request_id([_item(7)]) == "aviary.alerts/2/7"
    assert request_id([_item(7, 3)]) == "aviary.alerts/2/7/3"
    assert request_id([_item(7), _item(9)]).startswith("aviary.alerts/2/7-9/")


def test_an_alert_concerns_all_that_a_service_depends_on() -> None:
    def catalog(**depends_on: list[str]) -> Catalog:
        services = {name: {"depends_on": needs} for name, needs in depends_on.items()}
        router = {"kind": "memory"}
        return Catalog.model_validate(
            {"version": 1, "defaults": {"router": router}, "services": services}
        )

    reach = Reach()
    diamond = catalog(a=["b", "c"], b=["d"], c=["d"], d=[])
    assert reach(diamond, "a") == ("a", "b", "c", "d")
    assert reach(diamond, "d") == ("d",)
    assert reach(catalog(a=["b"], b=[]), "a") == ("a", "b")


@given(st.lists(st.integers(0, 20)), st.integers(1, 5))
def test_a_memory_keeps_the_latest_and_is_bounded(entries: list[int], most: int) -> None:
    seen = RecentlySeen(most)
    for entry in entries:
        seen.add(entry)
    latest = list(dict.fromkeys(reversed(entries)))
    assert len(seen) == min(most, len(latest))
    assert all(entry in seen for entry in latest[:most])
    assert not any(entry in seen for entry in latest[most:])
