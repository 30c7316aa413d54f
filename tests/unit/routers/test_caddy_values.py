"""Between a route and the line that Caddy reads: both ways, whatever is in it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.packs import BUILT_IN
from adapters.routers.caddy import configs
from adapters.routers.caddy.folder import CaddyFolder
from adapters.routers.caddy.folder_form import Pool
from adapters.routers.caddy.names import APART, pool_name, version_in
from adapters.routers.caddy.values import route_of, threshold, value_of
from schemas.route import Audience, AudienceBy, Match, Route

_versions = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,20}", fullmatch=True)
_text = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E), min_size=1, max_size=20)
_matches = st.builds(
    Match,
    by=st.sampled_from((AudienceBy.HEADER, AudienceBy.COOKIE)),
    name=st.from_regex(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}", fullmatch=True),
    value=_text,
)


@given(
    parts=st.integers(0, 10_000),
    versions=st.tuples(_versions, _versions).filter(lambda both: both[0] != both[1]),
    generation=st.integers(0, 2**60),
    owner=st.text(max_size=20),
    matches=st.lists(_matches, max_size=3, unique=True),
)
def test_a_route_is_read_back_as_it_was_written(
    parts: int, versions: tuple[str, str], generation: int, owner: str, matches: list[Match]
) -> None:
    audience = Audience(any_of=tuple(matches)) if matches else None
    route = Route.split(
        "payments",
        *versions,
        parts / 100,
        generation=generation,
        owner="".join(filter(str.isprintable, owner)),
        audience=audience,
    )
    value = value_of(route)
    assert route_of("payments", value) == route
    assert value.count("|") == 5
    assert "\n" not in value


@given(value=st.text(max_size=80) | st.lists(st.text(max_size=12), max_size=8).map("|".join))
def test_anything_else_is_no_route(value: str) -> None:
    route = route_of("payments", value)
    assert route is None or value_of(route) == value


@given(parts=st.integers(1, 10_000))
def test_the_threshold_is_the_share_of_all_hashes(parts: int) -> None:
    below = threshold(parts)
    hashes = 1 << 32 if below == "g" else int(below, 16)
    assert abs(hashes / 2**32 - parts / 10_000) < 1e-9
    assert threshold(parts - 1) < below, "as text, for that is how the template compares"


@given(one=_versions, other=_versions)
def test_versions_have_names_of_their_own_and_no_capitals(one: str, other: str) -> None:
    name = pool_name("payments", one)
    assert name == name.lower()
    assert version_in(name, "payments") == one
    assert version_in(f"{name}{APART}", "payments") is None
    assert (name == pool_name("payments", other)) == (one == other)
    assert BUILT_IN.load("caddy").pool.of("payments", one) == name


@pytest.mark.parametrize("bad", ["/a b", "/a{b}", "/a`b", '/a"', "/a#", ""])
def test_what_a_caddyfile_can_not_take_is_refused(bad: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="expected no blank"):
        configs.checked(bad, "directory")
    if bad:
        with pytest.raises(ValueError, match="expected no blank"):
            CaddyFolder(tmp_path / bad.removeprefix("/"))


@pytest.mark.parametrize("path", ["/a b", "/{x}", "/`", "/#", "/\\", "x"])
def test_a_health_path_is_one_word(path: str) -> None:
    with pytest.raises(ValueError, match="health_path"):
        Pool(service="payments", version="1", endpoints=(), health_path=path)
