"""What `release start` asks for by options is what an event of the same content asks for."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aviary.cli.events import deploy_from_options
from aviary.cli.failing import CommandError, ExitCode
from schemas.deploy import DeployRequested

_SERVICES = st.sampled_from(["ledger", "cart", "checkout", "a-1"])
_NAMES = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True)
_IMAGES = st.sampled_from(["registry.example:5000/shop/cart:1", "cart@sha256:0a", "cart"])


@given(
    asked=st.dictionaries(
        _SERVICES,
        st.fixed_dictionaries(
            {"version": st.sampled_from(["1.0", "2.0.1+a"])},
            optional={
                "image": _IMAGES,
                "config": st.dictionaries(_NAMES, st.text(max_size=20), min_size=1, max_size=3),
            },
        ),
        min_size=1,
    )
)
def test_options_ask_for_what_an_event_asks_for(asked: dict[str, dict[str, object]]) -> None:
    event = {"release": "r", "services": [{"service": name, **one} for name, one in asked.items()]}
    options = deploy_from_options(
        "r",
        [f"{name}={one['version']}" for name, one in asked.items()],
        [f"{name}={one['image']}" for name, one in asked.items() if "image" in one],
        [
            f"{name}:{key}={value}"
            for name, one in asked.items()
            for key, value in dict(one.get("config", {})).items()  # type: ignore[call-overload]
        ],
        None,
        [],
    )
    assert options == DeployRequested.model_validate(event)


@pytest.mark.parametrize(
    ("images", "config", "said"),
    [
        (["cart=x"], [], "--image: got cart, expected one of the --service options: ledger"),
        (["ledger"], [], "--image: got 'ledger', expected checkout=registry"),
        (["ledger=x", "ledger=y"], [], "--image ledger: expected once"),
        (["ledger=-x"], [], "services[0].image: "),
        ([], ["cart:A=1"], "--config: got cart, expected one of the --service options: ledger"),
        ([], ["ledger:A"], "--config: got 'ledger:A', expected checkout:LOG_LEVEL=debug"),
        ([], ["LOG=1"], "--config: got 'LOG=1', expected checkout:LOG_LEVEL=debug"),
        ([], ["ledger:A=1", "ledger:A=1"], "--config ledger:A: expected once"),
        ([], ["ledger:1A=1"], "services[0].config"),
    ],
)
def test_what_can_t_be_meant_is_refused_by_name(
    images: list[str], config: list[str], said: str
) -> None:
    with pytest.raises(CommandError) as refused:
        deploy_from_options("r", ["ledger=1"], images, config, None, [])
    assert refused.value.code is ExitCode.BAD_INPUT
    assert said in refused.value.text
