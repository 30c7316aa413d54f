"""Text from outside: bounded, and without power over its reader."""

from __future__ import annotations

import hashlib
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.outside import cut, hide_user, visible


def test_a_short_text_stays_as_it_is() -> None:
    assert cut("disk full", 200) == "disk full"


def test_a_long_text_says_its_length_and_its_digest() -> None:
    text = "x" * 900_000
    digest = hashlib.sha256(text.encode()).hexdigest()

    short = cut(text, 200)

    assert short.startswith("xxx")
    assert short.endswith(f"… (900000 characters, sha256 {digest[:16]})")
    assert len(short) == 200


def test_a_bound_without_room_for_the_note_is_an_error() -> None:
    with pytest.raises(ValueError, match="most: got 10, expected room for a note of"):
        cut("x" * 11, 10)


@given(st.text(st.characters(codec=None)), st.integers(60, 300))
def test_no_text_is_longer_than_its_bound(text: str, most: int) -> None:
    assert len(cut(text * 9, most)) <= most


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\x1b[2Jb", r"a\x1b[2Jb"),
        ("\x1b]0;title\x07", r"\x1b]0;title\x07"),
        ("one\ntwo\r\n", r"one\ntwo\r\n"),
        ("\u202egnp.exe", r"\u202egnp.exe"),
        ("\x9b2J", r"\x9b2J"),
        ("one\u2028two", r"one\u2028two"),
        ("checkout\u3164", r"checkout\u3164"),
        ("a\U000e0141b", r"a\U000e0141b"),
        ("half \ud800", r"half \ud800"),
        ("[/red] disk full", "[/red] disk full"),
        ("Grüße, 東京 👩‍🚀", "Grüße, 東京 👩‍🚀"),
    ],
)
def test_what_acts_on_a_reader_is_spelt_out(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_a_place_for_several_lines_keeps_them() -> None:
    assert visible("one\n\ttwo\r\x1b", lines=True) == "one\n\ttwo\\r\\x1b"


@given(st.text(st.characters(codec=None)))
def test_nothing_visible_acts(text: str) -> None:
    shown = visible(text)
    acting = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    assert {each for each in shown if unicodedata.category(each) in acting} <= {"\u200d"}
    shown.encode()


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("http://u:secret@prometheus:9090/graph", "http://(hidden)@prometheus:9090/graph"),
        (
            "at https://u:p@ss@host, or at //secret@host",
            "at https://(hidden)@host, or at //(hidden)@host",
        ),
        ("http://u:se/cr'et@h:9090/x", "http://(hidden)@h:9090/x"),
        ("https://h/x?a=b&token=s3cret#d", "https://h/x?a=b&token=(hidden)#d"),
        ("https://h/x#access_token=s&a=b", "https://h/x#access_token=(hidden)&a=b"),
        ("http://h/graph?g0.expr=up&tokens=9", "http://h/graph?g0.expr=up&tokens=9"),
        ("http://h:9090/d?mail=a@b.example", "http://h:9090/d?mail=a@b.example"),
        ("'http://h:9090', 'a@b'", "'http://h:9090', 'a@b'"),
        ("http://[::1]:9090/@graph", "http://[::1]:9090/@graph"),
        ("http://prometheus:9090/@graph", "http://prometheus:9090/@graph"),
        ("to ops@example.com", "to ops@example.com"),
    ],
)
def test_user_and_password_of_an_address_are_hidden(text: str, shown: str) -> None:
    assert hide_user(text) == shown
    assert hide_user(shown) == shown
