"""Notices with hostile text in every field, as each kind of service is sent them."""

from __future__ import annotations

import pytest

from adapters.links import Links
from adapters.notifiers.message import body, spelling, title
from schemas.event_kinds import NoticeKind
from schemas.notice import Notice
from schemas.outside import inert, one_line
from tests.hostile import MARKUP, TEXTS, every, harmless

LINKS = Links("https://temporal.example", "shop", "https://reports.example/")


@pytest.mark.parametrize("kind", NoticeKind)
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_no_field_of_a_notice_acts(text: str, kind: NoticeKind) -> None:
    notice = every(Notice, text, kind=kind)
    for shown in (title(notice), body(notice, {})):
        assert not MARKUP.search(harmless(shown))
    assert "\n" not in title(notice)
    assert {line.partition(": ")[0] for line in body(notice, {}).split("\n")[2:]} <= {
        "service",
        "services",
        "environment",
        "at",
    }


def test_links_that_are_made_here_can_be_followed() -> None:
    notice = every(Notice, "x@y", kind=NoticeKind.FINISHED)
    links = LINKS.of(notice)
    assert len(links) == 2
    for name, url in links.items():
        assert f"\n{name}: {url}" in body(notice, links)


@pytest.mark.parametrize(
    "scheme", ["discord", "slack", "mmosts", "msteams", "tgram", "https", "rocket", "one-to-come"]
)
def test_a_service_that_is_not_known_to_take_text_is_sent_inert_text(scheme: str) -> None:
    assert spelling(scheme) is inert


@pytest.mark.parametrize("scheme", ["json", "jsons", "xml", "form", "mailto", "mailtos"])
def test_programs_and_mail_are_sent_text_as_it_is(scheme: str) -> None:
    assert spelling(scheme) is one_line


def test_a_wide_sign_mentions_nobody() -> None:
    assert inert("\uff20everyone @here") == "[\uff20]everyone [@]here"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("see evil.example now", "see evil[.]example now"),
        ("pay at login.shop.co.uk/pay?x=1", "pay at login[.]shop[.]co[.]uk/pay?x=1"),
        ("a@b.com", "a[@]b[.]com"),
        ("http://evil.example:80/a.php", "http[:]//evil[.]example:80/a[.]php"),
        ("пример.рф and xn--e1afmkfd.xn--p1ai", "пример[.]рф and xn--e1afmkfd[.]xn--p1ai"),
        ("bücher.de.", "bücher[.]de."),
        ("EVIL.COM", "EVIL[.]COM"),
        ("checkout 1.4.2 fails 0.53 % of requests. See why.", None),
        ("2.0.1-rc.1+build.7", None),
    ],
)
def test_a_bare_domain_is_no_link(text: str, shown: str | None) -> None:
    assert inert(text) == (text if shown is None else shown)
