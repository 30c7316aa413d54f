"""Tokens of hooks that answer later: good for one call, and for nothing else."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from adapters.errors import Retryable
from adapters.hooks.tokens import AnswerTokens, Called
from adapters.secrets import Secret

SECRET = Secret(SecretStr("a-secret-of-24-characters"))
TOKENS = AnswerTokens(SECRET)
CALLED = Called("checkout", "msg_93bd2d3f6f6d3a8f5a4d9d1e0c7b6a5f4e3d2c1b")
NAMES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
CALLS = st.from_regex(r"msg_[0-9a-f]{40}", fullmatch=True)


@given(NAMES, CALLS)
def test_a_token_is_for_its_call(service: str, call: str) -> None:
    called = Called(service, call)
    token = TOKENS.make(called)
    assert TOKENS.read(token) == called
    assert token.isascii()
    assert token.isprintable()
    assert SECRET.read() not in token


@given(st.text(max_size=500))
def test_nothing_else_is_a_token(text: str) -> None:
    assert TOKENS.read(text) is None


@given(st.data())
def test_a_token_that_was_changed_is_none(data: st.DataObject) -> None:
    token = TOKENS.make(CALLED)
    at = data.draw(st.integers(0, len(token) - 1))
    put = data.draw(st.characters(codec="ascii").filter(lambda one: one != token[at]))
    changed = token[:at] + put + token[at + 1 :]
    assert TOKENS.read(changed) is None


def test_the_proof_of_one_call_is_none_of_another() -> None:
    proof = TOKENS.make(CALLED).rsplit("/", 1)[1]
    assert TOKENS.read(f"payments/{CALLED.call}/{proof}") is None
    assert TOKENS.read(f"{CALLED.service}/msg_0/{proof}") is None


def test_another_installation_or_secret_takes_none_of_these() -> None:
    token = TOKENS.make(CALLED)
    assert AnswerTokens(SECRET, cell="eu").read(token) is None
    other = Secret(SecretStr("another-secret-of-24-chars"))
    assert AnswerTokens(other).read(token) is None


def test_a_secret_that_is_short_makes_no_token(tmp_path: Path) -> None:
    file = tmp_path / "secret"
    file.write_text("short\n")
    with pytest.raises(Retryable, match="at least 24 characters"):
        AnswerTokens(Secret(file=file)).make(CALLED)
