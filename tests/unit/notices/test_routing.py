"""Who is told what: severity, services and kinds, as the catalog says."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.catalog_file import CatalogError, parse_catalog
from schemas.event_kinds import NoticeKind
from schemas.notice import SEVERITIES, Notice, NoticeRule, Severity, channels_for, unknown_channels

AT = datetime(2026, 1, 1, 10, tzinfo=UTC)
SHOP = ("ledger", "checkout")
MERELY_TOLD = {NoticeKind.STARTED, NoticeKind.STALE}


def notice(kind: NoticeKind = NoticeKind.STARTED, service: str | None = None) -> Notice:
    return Notice(kind=kind, release="shop-42", service=service, text="so", at=AT, services=SHOP)


def rule(**fields: object) -> NoticeRule:
    return NoticeRule.model_validate({"channel": "oncall", **fields})


@pytest.mark.parametrize(
    ("kind", "severity"),
    [
        (NoticeKind.STARTED, Severity.INFO),
        (NoticeKind.STALE, Severity.INFO),
        (NoticeKind.FINISHED, Severity.SUCCESS),
        (NoticeKind.WAITING, Severity.WARNING),
        (NoticeKind.ROLLING_BACK, Severity.WARNING),
        (NoticeKind.DRIFT, Severity.WARNING),
        (NoticeKind.ROLLED_BACK, Severity.FAILURE),
        (NoticeKind.STUCK, Severity.FAILURE),
    ],
)
def test_a_kind_has_its_severity(kind: NoticeKind, severity: Severity) -> None:
    assert notice(kind).severity is severity
    assert SEVERITIES.keys() == set(NoticeKind)


@pytest.mark.parametrize(
    ("at_least", "told"),
    [
        (Severity.INFO, set(NoticeKind)),
        (Severity.SUCCESS, set(NoticeKind) - MERELY_TOLD),
        (Severity.WARNING, set(NoticeKind) - MERELY_TOLD - {NoticeKind.FINISHED}),
        (Severity.FAILURE, {NoticeKind.ROLLED_BACK, NoticeKind.STUCK}),
    ],
)
def test_a_threshold_tells_what_is_as_severe_or_more(
    at_least: Severity, told: set[NoticeKind]
) -> None:
    asks = rule(at_least=at_least)
    assert {kind for kind in NoticeKind if asks.takes(notice(kind))} == told


def test_a_rule_for_services_takes_theirs_and_those_of_their_releases() -> None:
    asks = rule(services=["checkout"])
    assert asks.takes(notice(service="checkout"))
    assert asks.takes(notice())
    assert not asks.takes(notice(service="ledger"))
    assert not asks.takes(notice().model_copy(update={"services": ("ledger",)}))


def test_a_notice_whose_services_are_not_known_is_rather_told() -> None:
    assert rule(services=["checkout"]).takes(notice().model_copy(update={"services": ()}))


def test_a_rule_for_kinds_takes_them_alone() -> None:
    asks = rule(kinds=["stuck", "waiting"])
    told = {kind for kind in NoticeKind if asks.takes(notice(kind))}
    assert told == {NoticeKind.STUCK, NoticeKind.WAITING}


def test_everything_that_a_rule_says_must_hold() -> None:
    asks = rule(services=["checkout"], at_least="failure", kinds=["stuck", "waiting"])
    assert asks.takes(notice(NoticeKind.STUCK, "checkout"))
    assert not asks.takes(notice(NoticeKind.WAITING, "checkout"))
    assert not asks.takes(notice(NoticeKind.STUCK, "ledger"))


def test_rules_of_a_channel_add_up() -> None:
    rules = [
        rule(kinds=["stuck"]),
        rule(services=["checkout"]),
        rule(channel="shop", kinds=["finished"]),
    ]
    assert channels_for(notice(NoticeKind.STUCK, "ledger"), rules, ()) == {"oncall"}
    assert channels_for(notice(NoticeKind.FINISHED, "ledger"), rules, ()) == {"shop"}
    assert channels_for(notice(NoticeKind.FINISHED), rules, ()) == {"oncall", "shop"}


def test_without_rules_every_channel_is_told_and_with_none_nobody() -> None:
    assert channels_for(notice(), None, {"a", "b"}) == {"a", "b"}
    assert channels_for(notice(), (), {"a", "b"}) == frozenset()


def test_channels_that_the_settings_do_not_have() -> None:
    rules = [rule(), rule(channel="z"), rule(channel="b"), rule(channel="b")]
    assert unknown_channels(rules, {"oncall"}) == ("b", "z")
    assert unknown_channels(None, {"oncall"}) == ()


@given(kind=st.sampled_from(NoticeKind), low=st.sampled_from(Severity))
def test_a_lower_threshold_never_hides_what_a_higher_one_shows(
    kind: NoticeKind, low: Severity
) -> None:
    for high in Severity:
        if high.is_at_least(low) and rule(at_least=high).takes(notice(kind)):
            assert rule(at_least=low).takes(notice(kind))


CATALOG = "version: 1\ndefaults: {router: {kind: memory}}\nservices: {ledger: , checkout: }\n"


def test_the_catalog_has_the_rules() -> None:
    text = "notices: [{channel: oncall, services: [checkout], at_least: warning}]\n"
    catalog = parse_catalog(CATALOG + text)
    assert catalog.notices == (rule(services=["checkout"], at_least="warning"),)
    assert parse_catalog(CATALOG).notices is None


@pytest.mark.parametrize(
    ("item", "words"),
    [
        ("{channel: oncall, services: [chekout]}", "notices[0].services[0]: got 'chekout'"),
        ("{channel: oncall, services: [chekout]}", "did you mean 'checkout'?"),
        ("{channel: On Call}", "notices[0].channel: got 'On Call'"),
        ("{channel: oncall, at_least: loud}", "notices[0].at_least: got 'loud'"),
        ("{channel: oncall, kinds: [boom]}", "notices[0].kinds[0]: got 'boom'"),
        ("{channel: oncall, kinds: []}", "notices[0].kinds"),
        ("{channel: oncall, url: 'json://x'}", "notices[0].url"),
        ("{at_least: warning}", "notices[0].channel"),
    ],
)
def test_a_wrong_rule_is_named(item: str, words: str) -> None:
    with pytest.raises(CatalogError) as caught:
        parse_catalog(f"{CATALOG}notices: [{item}]\n")
    assert words in str(caught.value)


def test_a_wrong_service_is_found_beside_other_faults() -> None:
    with pytest.raises(CatalogError) as caught:
        parse_catalog(f"{CATALOG}nonsense: 1\nnotices: [{{channel: a, services: [x]}}]\n")
    assert len(caught.value.problems) == len(("nonsense", "x"))
