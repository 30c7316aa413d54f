"""The filters of `release list`, as a query and as a check."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.cli.failing import CommandError, ExitCode
from aviary.releases.finding import Filters, moment, quoted
from schemas.release import Cause, CauseKind, ReleasePhase, ReleaseStatus
from schemas.verdict import VerdictKind
from tests.unit.cli import looks

NOW = looks.NOW


def test_the_query_names_every_filter() -> None:
    filters = Filters(
        state=ReleasePhase.ROLLED_BACK,
        services=("checkout", "ledger"),
        environment="prod",
        since=NOW,
        until=NOW,
        verdict=VerdictKind.FAIL,
        cause=CauseKind.ALERT,
        because_of="checkout",
    )
    assert filters.query().split(" AND ") == [
        "WorkflowType = 'aviary.release'",
        "ExecutionStatus != 'Running'",
        "StartTime >= '2026-01-31T12:12:31Z'",
        "StartTime < '2026-01-31T12:12:31Z'",
        "AviaryState = 'rolled_back'",
        "AviaryEnvironment = 'prod'",
        "AviaryVerdict = 'FAIL'",
        "AviaryCause = 'alert'",
        "AviaryCauseService = 'checkout'",
        "AviaryService = 'checkout'",
        "AviaryService = 'ledger'",
    ]


def test_without_filters_all_releases_are_asked_for() -> None:
    assert Filters().query() == "WorkflowType = 'aviary.release'"


@given(st.text())
def test_nothing_gets_out_of_its_quotes(value: str) -> None:
    try:
        text = quoted(value)
    except CommandError:
        assert re.search(r"['\"\\`]", value) or not value.isprintable()
    else:
        assert text == f"'{value}'"
        assert not set(value) & set("'\"\\`\n\0")


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("7d", NOW - timedelta(days=7)),
        ("1h30m", NOW - timedelta(minutes=90)),
        ("2026-01-30T10:00:00Z", datetime(2026, 1, 30, 10, tzinfo=UTC)),
        ("2026-01-30T10:00:00+02:00", datetime(2026, 1, 30, 8, tzinfo=UTC)),
    ],
)
def test_a_time_is_a_moment_or_how_long_ago(text: str, time: datetime) -> None:
    assert moment("--since", text, NOW) == time


def test_a_time_without_an_offset_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    local = datetime(2026, 1, 30, 10).astimezone()
    assert moment("--since", "2026-01-30T10:00", NOW) == local


@pytest.mark.parametrize("text", ["yesterday", "-3d", "7", "", "9999999d", "2026-13-01"])
def test_any_other_time_is_named_with_what_was_expected(text: str) -> None:
    with pytest.raises(CommandError) as caught:
        moment("--since", text, NOW)
    assert caught.value.code is ExitCode.BAD_INPUT
    assert caught.value.text.startswith(f"--since: got {text}, expected a time such as")


CAUSE = Cause(kind=CauseKind.VERDICT, service="checkout", text="bad", at=NOW)


@pytest.mark.parametrize(
    ("filters", "status", "matches"),
    [
        (Filters(), looks.release(looks.CHECKOUT), True),
        (Filters(services=("checkout",)), looks.release(looks.CHECKOUT, looks.CART), True),
        (Filters(services=("checkout", "shop")), looks.release(looks.CHECKOUT), False),
        (Filters(state=ReleasePhase.SOAKING), looks.release(looks.CHECKOUT), False),
        (Filters(verdict=VerdictKind.PASS), looks.release(looks.CHECKOUT), True),
        (Filters(verdict=VerdictKind.FAIL), looks.release(looks.CHECKOUT), False),
        (Filters(because_of="checkout"), looks.release(looks.CART, cause=CAUSE), True),
        (Filters(because_of="cart"), looks.release(looks.CART, cause=CAUSE), False),
        (Filters(cause=CauseKind.ALERT), looks.release(looks.CART, cause=CAUSE), False),
        (Filters(cause=CauseKind.VERDICT), looks.release(looks.CART), False),
        (Filters(since=NOW), None, True),
        (Filters(state=ReleasePhase.RUNNING), None, False),
    ],
)
def test_where_temporal_knows_no_attributes_each_answer_is_checked(
    filters: Filters, status: ReleaseStatus | None, *, matches: bool
) -> None:
    assert filters.matches(status) is matches
