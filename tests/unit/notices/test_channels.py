"""Channels of the settings, the routes of the catalog, and how both meet in a worker."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from adapters.errors import Retryable
from adapters.links import Links
from adapters.memory import MemoryNotifier
from adapters.notifiers import LogNotifier
from adapters.notifiers.fan_out import FanOut
from adapters.notifiers.message import body
from aviary.channels import Routing, make_notifier, parse_channels
from aviary.settings import SettingsError, load_settings
from schemas.catalog import Catalog
from schemas.catalog_file import parse_catalog
from schemas.event_kinds import NoticeKind
from schemas.notice import Notice

AT = datetime(2026, 1, 1, 10, tzinfo=UTC)
BASE = "version: 1\ndefaults: {router: {kind: memory}, metrics: []}\nservices: {a: , b: }\n"


@pytest.fixture(autouse=True)
def _fresh_logs() -> Iterator[None]:
    structlog.reset_defaults()
    yield
    structlog.reset_defaults()


def notice(kind: NoticeKind = NoticeKind.STUCK) -> Notice:
    return Notice(
        kind=kind, release="r.1", service="a", version="2", text="so", at=AT, environment="live"
    )


def catalog(rules: str) -> Catalog:
    return parse_catalog(f"{BASE}notices: {rules}\n")


def no_catalog() -> Catalog:
    raise Retryable("catalog.yaml: there is none")


def test_lines_are_channels() -> None:
    found = parse_channels("\n# people\n a = json://x/?k=v\nb= x://y z \na=mailto://q=r#s\n")
    shown = {name: [url.get_secret_value() for url in urls] for name, urls in found.items()}
    assert shown == {"a": ["json://x/?k=v", "mailto://q=r#s"], "b": ["x://y z"]}


def test_no_channel_is_only_the_log() -> None:
    with capture_logs() as logs:
        make_notifier(load_settings(), lambda: catalog("[]"))
    assert logs == []


def test_a_file_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    settings = load_settings(notify_file=tmp_path / "nosuch")
    with pytest.raises(SettingsError, match="AVIARY_NOTIFY_FILE: .*nosuch.*No such file"):
        make_notifier(settings, no_catalog)


def test_an_unknown_channel_is_an_error_at_start_and_stops_nothing() -> None:
    with capture_logs() as logs:
        make_notifier(load_settings(), lambda: catalog("[{channel: oncall}]"))
    (line,) = logs
    assert (line["log_level"], line["event"]) == ("error", "channel_unknown")
    assert line["channel"] == "oncall"


def test_known_channels_are_told_whatever_else_the_catalog_names() -> None:
    routing = Routing(lambda: catalog("[{channel: x}, {channel: a}]"), ["a"])
    with capture_logs() as logs:
        routing.check()
        assert routing(notice()) == routing(notice()) == {"a"}
    assert len(logs) == 1, "an unknown channel is told of once"


def test_without_a_catalog_all_hear_what_is_severe() -> None:
    routing = Routing(no_catalog, ["a", "b"])
    with capture_logs() as logs:
        routing.check()
        assert set(routing(notice(NoticeKind.WAITING))) == {"a", "b"}
        assert set(routing(notice(NoticeKind.FINISHED))) == set()
    assert {line["event"] for line in logs} == {"notices_not_routed"}


def test_routes_follow_the_catalog() -> None:
    catalogs = [catalog("[{channel: a}]"), catalog("[{channel: b}]")]
    routing = Routing(lambda: catalogs.pop(0), ["a", "b"])
    assert [routing(notice()), routing(notice())] == [{"a"}, {"b"}]


class Counting:
    """Counts what it is told, and refuses the first `refusals`."""

    def __init__(self, refusals: int = 0) -> None:
        self.refusals = refusals
        self.told = 0

    async def notify(self, _: Notice) -> None:
        self.told += 1
        if self.told <= self.refusals:
            raise Retryable("channel c: away")


async def _until_done(fan: FanOut, one: Notice) -> int:
    for attempt in range(1, 10):
        try:
            await fan.notify(one)
        except Retryable:
            continue
        return attempt
    raise AssertionError


async def test_who_has_heard_is_left_out_of_the_next_attempt() -> None:
    log, good, bad = Counting(), Counting(), Counting(refusals=2)
    fan = FanOut(log, {"c": [good, bad]}, lambda _: ["c"])
    assert await _until_done(fan, notice()) == len(("refused", "refused", "taken"))
    assert (log.told, good.told, bad.told) == (1, 1, 3)
    await fan.notify(notice(NoticeKind.WAITING))
    assert (log.told, good.told, bad.told) == (2, 2, 4)


async def test_the_log_has_it_even_when_no_channel_takes_it() -> None:
    log, members = MemoryNotifier(), [MemoryNotifier(), MemoryNotifier()]
    for member in members:
        member.failure = Retryable("channel c: away")
    with pytest.raises(Retryable, match="channel c: away; channel c: away"):
        await FanOut(log, {"c": members}, lambda _: ["c"]).notify(notice())
    assert log.notices == [notice()]


async def test_a_bug_is_not_taken_for_an_absence() -> None:
    class Broken:
        async def notify(self, _: Notice) -> None:
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await FanOut(MemoryNotifier(), {"c": [Broken()]}, lambda _: ["c"]).notify(notice())


@pytest.mark.parametrize(
    ("kind", "pages"),
    [
        (NoticeKind.STARTED, ["release"]),
        (NoticeKind.STUCK, ["release"]),
        (NoticeKind.ROLLED_BACK, ["release", "report"]),
        (NoticeKind.FINISHED, ["release", "report"]),
    ],
)
def test_links(kind: NoticeKind, pages: Sequence[str]) -> None:
    links = Links("https://t.example/ui/", "shop", "https://r.example/a")
    found = links.of(notice(kind))
    assert list(found) == pages
    assert found["release"] == "https://t.example/ui/namespaces/shop/workflows/release%2Fr.1"
    assert found.get("report", "https://r.example/a/r.1.html") == "https://r.example/a/r.1.html"
    assert all(f"\n{name}: {url}" in body(notice(kind), found) for name, url in found.items())
    assert Links().of(notice(kind)) == {}


def test_the_text_says_what_it_is_about() -> None:
    text = body(notice(), {})
    assert text.startswith("so\n")
    for line in ("service: a 2", "environment: live", "at: 2026-01-01T10:00:00+00:00"):
        assert f"\n{line}" in text


async def test_the_log_is_loud_for_what_needs_a_person() -> None:
    with capture_logs() as logs:
        for kind in NoticeKind:
            await LogNotifier().notify(notice(kind))
    loud = {line["kind"] for line in logs if line["log_level"] == "warning"}
    assert loud == {"waiting", "rolling_back", "rolled_back", "stuck", "drift"}
