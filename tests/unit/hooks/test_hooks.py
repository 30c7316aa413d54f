"""What a catalog says of hooks, and the identity of a call."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from adapters.hooks.http.connection import HttpHookConnection
from aviary.kinds import registry
from aviary.routers import CatalogKinds
from schemas.catalog_file import CatalogError, parse_catalog
from schemas.hooks import Hook, HookMoment, OnNo, call_id
from tests.catalogs import make

SECRET = "whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8="
CONNECTIONS = {
    "smoke": HttpHookConnection.model_validate(
        {"url": "http://127.0.0.1:9/hooks", "secret": SECRET}
    )
}
CALL = {"kind": "http", "connection": "smoke"}


def hook(**more: Any) -> dict[str, Any]:
    return {"name": "smoke", "when": "before_canary", "call": CALL, **more}


def document(**more: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}, "metrics": [], "strategy": "steps"},
        "strategies": {"steps": {"steps": [10], "bake": "1m"}},
        "services": {"checkout": {}},
        **more,
    }


def problems(text: str) -> str:
    with pytest.raises(CatalogError) as found:
        parse_catalog(text, kinds=CatalogKinds(registry(), CONNECTIONS))
    return str(found.value)


# --- the identity of a call ---

parts = st.fixed_dictionaries(
    {
        "environment": st.text(min_size=1, max_size=8),
        "release": st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,8}", fullmatch=True),
        "service": st.from_regex(r"[a-z0-9]([a-z0-9-]{0,6}[a-z0-9])?", fullmatch=True),
        "hook": st.from_regex(r"[a-z0-9]([a-z0-9_-]{0,6}[a-z0-9])?", fullmatch=True),
        "moment": st.sampled_from(HookMoment),
        "step": st.none() | st.integers(1, 100),
    }
)


@given(one=parts, other=parts)
def test_a_call_is_known_by_what_it_is_about_and_by_nothing_else(
    one: dict[str, Any], other: dict[str, Any]
) -> None:
    assert call_id(**one) == call_id(**dict(one))
    assert (call_id(**one) == call_id(**other)) == (one == other)


@given(one=parts, moment=st.sampled_from(HookMoment), step=st.none() | st.integers(1, 100))
def test_each_moment_and_each_step_is_a_call_of_its_own(
    one: dict[str, Any], moment: HookMoment, step: int | None
) -> None:
    for other in ({**one, "moment": moment}, {**one, "step": step}):
        assert (call_id(**other) == call_id(**one)) == (other == one)


@given(one=parts, part=st.sampled_from(["environment", "release", "service", "hook"]))
def test_nothing_of_one_part_is_taken_for_another(one: dict[str, Any], part: str) -> None:
    longer = {**one, part: one[part] + "1"}
    assert call_id(**longer) != call_id(**one)


@given(one=parts)
def test_it_is_what_the_header_takes(one: dict[str, Any]) -> None:
    assert re.fullmatch(r"msg_[0-9a-f]{40}", call_id(**one))


# --- what a catalog says ---


def test_a_service_has_those_of_the_catalog_of_its_strategy_and_its_own() -> None:
    catalog = make(
        document(
            hooks=[hook(name="audit", when="after_finalized")],
            strategies={
                "steps": {
                    "steps": [10],
                    "bake": "1m",
                    "hooks": [hook(name="load", when="during_bake", makes_traffic=True)],
                }
            },
            services={"checkout": {"hooks": [hook()]}, "ledger": {}},
        ),
        CONNECTIONS,
    )
    assert [one.name for one in catalog.resolve("checkout").hooks] == ["audit", "load", "smoke"]
    assert [one.name for one in catalog.resolve("ledger").hooks] == ["audit", "load"]


def test_a_hook_has_defaults() -> None:
    one = make(document(hooks=[hook()]), CONNECTIONS).hooks[0]
    assert (one.when, one.refused, one.deadline.total_seconds()) == (
        (HookMoment.BEFORE_CANARY,),
        OnNo.ROLL_BACK,
        300,
    )
    assert one.call.options == {"path": "", "timeout": "30s"}


def test_a_plan_reads_it_again_without_kinds() -> None:
    one = make(document(hooks=[hook(when=["before_step", "after_step"])]), CONNECTIONS).hooks[0]
    assert Hook.model_validate_json(one.model_dump_json()) == one


@pytest.mark.parametrize(
    ("wrong", "expected"),
    [
        ({"when": "at_noon"}, "before_canary"),
        ({"when": []}, "at least 1"),
        ({"when": ["after_step", "after_step"]}, "each moment"),
        ({"on_no": "panic"}, "roll_back"),
        ({"when": "after_finalized", "on_no": "roll_back"}, "on_no: ignore"),
        ({"when": "before_rollback", "on_no": "gate"}, "on_no: ignore"),
        ({"makes_traffic": True}, "during_bake"),
        ({"contract_after": "1h"}, "the moment contract"),
        ({"when": "contract", "on_no": "gate"}, "on_no: ignore"),
        ({"deadline": "0s"}, "longer than 0s"),
        ({"retries": 0}, "greater than or equal to 1"),
        ({"name": "Smoke Test"}, "pattern"),
        ({"call": {"kind": "smtp"}}, "one of http"),
        ({"call": {"kind": "http"}}, "call.connection"),
        ({"call": {"kind": "http", "connection": "smok"}}, "did you mean 'smoke'"),
        ({"call": {**CALL, "url": "http://x"}}, "Extra inputs"),
        ({"call": {**CALL, "path": "/../x"}}, "pattern"),
        ({"whne": "x"}, "Extra inputs"),
    ],
)
def test_what_is_wrong_is_refused(wrong: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValidationError, match=re.escape(expected)):
        make(document(hooks=[hook(**wrong)]), CONNECTIONS)


def test_what_is_wrong_is_told_at_its_line() -> None:
    text = """\
version: 1
defaults: {router: {kind: memory}, metrics: [], strategy: steps}
strategies:
  steps: {steps: [10], bake: 1m}
services:
  checkout:
    hooks:
      - name: smoke
        when: before_canary
        call: {kind: http, connection: smoek}
"""
    found = problems(text)
    assert "catalog:10: services.checkout.hooks[0].call.connection" in found
    assert "did you mean 'smoke'" in found


def test_a_name_is_there_once_among_those_of_a_service() -> None:
    text = """\
version: 1
defaults: {router: {kind: memory}, metrics: [], strategy: steps}
strategies:
  steps: {steps: [10], bake: 1m}
hooks:
  - {name: smoke, when: before_canary, call: {kind: http, connection: smoke}}
services:
  checkout:
    hooks:
      - {name: smoke, when: after_step, call: {kind: http, connection: smoke}}
"""
    assert "each name of a hook once among those of checkout" in problems(text)


def test_a_hook_that_would_never_be_called_is_refused() -> None:
    text = """\
version: 1
defaults: {router: {kind: memory}, metrics: [], strategy: steps}
strategies:
  steps: {steps: [10]}
services:
  checkout:
    hooks:
      - {name: load, when: during_bake, call: {kind: http, connection: smoke}}
"""
    assert "other moments: strategy 'steps' of checkout has no bake" in problems(text)


def test_the_schema_says_what_a_call_may_say() -> None:
    schema = CatalogKinds(registry()).schema()
    http, _ = schema["$defs"]["HookCall"]["oneOf"]
    assert set(schema["$defs"][http["$ref"].split("/")[-1]]["properties"]) == {
        *("kind", "connection", "path", "timeout"),
    }
