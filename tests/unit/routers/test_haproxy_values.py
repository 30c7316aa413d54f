"""The line that HAProxy's map has for a route: read back as it was, and nothing else is one."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.errors import ForeignChange, Retryable, UnknownRoute, Unsupported
from adapters.routers.haproxy.folder import HaproxyFolder, Pool
from adapters.routers.haproxy.map_file import MapFile, map_text, parse
from adapters.routers.haproxy.names import apart_name, pool_name, version_in
from adapters.routers.haproxy.values import route_of, value_of
from schemas.route import Audience, AudienceBy, Condition, How, Match, Route

VERSIONS = st.from_regex(r"\A([A-Za-z0-9][A-Za-z0-9.+_-]{0,20}|sha256:[0-9a-f]{64})\Z")
MATCHES = st.builds(
    Match,
    by=st.sampled_from((AudienceBy.HEADER, AudienceBy.COOKIE, AudienceBy.QUERY)),
    how=st.sampled_from((How.EQUAL, How.PREFIX)),
    negated=st.booleans(),
    also=st.sampled_from(
        (
            (),
            (Condition(by=AudienceBy.PATH, value="/a,b&c=!", how=How.PREFIX),),
            (Condition(by=AudienceBy.NETWORK, value="2001:db8::/32", negated=True),),
        )
    ),
    name=st.from_regex(r"\A[A-Za-z0-9!#$%&'*+.^_`|~-]{1,20}\Z"),
    value=st.from_regex(r"\A[!-~]([ -~]{0,20}[!-~])?\Z"),
)
AUDIENCES = st.none() | st.builds(
    lambda matches: Audience(any_of=tuple(matches)), st.lists(MATCHES, min_size=1, max_size=4)
)


@given(
    st.lists(VERSIONS, min_size=2, max_size=2, unique=True),
    st.integers(0, 10_000),
    st.integers(0, 10**18),
    st.from_regex(r"\A[A-Za-z0-9._-]{0,20}\Z"),
    AUDIENCES,
)
def test_any_route_is_read_back_as_it_was(
    versions: list[str], parts: int, generation: int, owner: str, audience: Audience | None
) -> None:
    one, other = versions
    route = Route.split(
        "payments",
        one,
        other,
        parts / 100,
        generation=generation,
        owner=owner,
        audience=audience,
    )
    value = value_of(route)
    assert route_of("payments", value) == route
    assert parse(map_text({"payments": value})) == {"payments": value}
    assert not set(value) & set(" ;\\\t\n\"'#"), "one word of a command"


@given(VERSIONS)
def test_a_version_is_found_in_the_name_of_its_backend(version: str) -> None:
    assert version_in(pool_name("pay", version), "pay") == version
    assert version_in(apart_name("pay", version), "pay") is None
    assert version_in(pool_name("pay", version), "payments") is None


@given(st.lists(VERSIONS, min_size=2, max_size=2, unique=True))
def test_two_versions_have_two_names(versions: list[str]) -> None:
    names = [name("pay", one) for one in versions for name in (pool_name, apart_name)]
    assert len(set(names)) == len(names)


@given(st.text(max_size=60) | st.from_regex(r"\A[a-z:0-9.]{0,9}(\|[a-z:0-9.%,=]{0,9}){5}\Z"))
def test_what_is_no_route_is_none(value: str) -> None:
    found = route_of("pay", value)
    assert found is None or value_of(found) == value
    assert value.count("|") == 5 or found is None


def test_an_audience_that_no_command_can_hold_is_refused() -> None:
    matches = tuple(
        Match(by=AudienceBy.HEADER, name=f"x-{number}", value='"' * 256) for number in range(20)
    )
    route = Route.split("pay", "1", "2", 5, audience=Audience(any_of=matches))
    with pytest.raises(Unsupported, match="an audience of 15,.* characters"):
        value_of(route)


def test_a_line_that_somebody_wrote_is_no_route_and_is_overruled(tmp_path: Path) -> None:
    HaproxyFolder(tmp_path).prepare()
    file = MapFile(tmp_path, 1)
    file.register(Route.split("pay", "1"))
    file.path.write_text("pay something else\n")
    with pytest.raises(ForeignChange, match="found something else"):
        file.read("pay")
    with pytest.raises(ForeignChange):
        file.write(Route.split("pay", "1", generation=1), over=Route.split("pay", "1"))
    file.write(Route.split("pay", "1", generation=1))
    assert file.read("pay") == Route.split("pay", "1", generation=1)


def test_what_is_no_map_is_named(tmp_path: Path) -> None:
    file = MapFile(tmp_path, 1)
    with pytest.raises(Retryable, match=r"routes\.map: No such file"):
        file.read("pay")
    HaproxyFolder(tmp_path).prepare()
    with pytest.raises(UnknownRoute, match="pay"):
        file.read("pay")


def test_a_full_disk_is_named_and_leaves_the_old_route(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    HaproxyFolder(tmp_path).prepare()
    file = MapFile(tmp_path, 1)
    file.register(Route.split("pay", "1"))

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(Retryable, match=r"routes\.map: No space left on device"):
            file.write(Route.split("pay", "1", "2", 5, generation=1))
    assert file.read("pay") == Route.split("pay", "1")


def test_pools_are_read_back_and_guarded(tmp_path: Path) -> None:
    folder = HaproxyFolder(tmp_path)
    folder.prepare(":10000")
    pools = [
        Pool(service="pay", version="1", endpoints=(("10.0.0.7", 80),), health_path="/healthz"),
        Pool(service="pay", version="1+2", endpoints=()),
    ]
    folder.set_pools(pools)
    assert folder.pools() == pools
    MapFile(tmp_path, 1).register(Route.split("pay", "1"))
    with pytest.raises(Exception, match="the route of pay still names version 1"):
        folder.drop_pool("pay", "1")
    folder.drop_pool("pay", "1+2")
    assert folder.pools() == pools[:1]


@pytest.mark.parametrize("name", ["a b", 'a"b', "a#b", "a\\b", "a'b"])
def test_a_folder_that_haproxy_can_not_name_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected no blank"):
        HaproxyFolder(tmp_path / name)


def test_nobody_writes_more_than_an_address_into_a_configuration(tmp_path: Path) -> None:
    folder = HaproxyFolder(tmp_path)
    folder.prepare()
    evil = Pool(service="pay", version="1", endpoints=(("10.0.0.7:1\n backend x", 80),))
    with pytest.raises(ValueError, match="host: expected no blank"):
        folder.put_pool(evil)
    with pytest.raises(ValueError, match="health_path: expected no blank"):
        folder.put_pool(evil.model_copy(update={"endpoints": (("a", 1),), "health_path": "/ x"}))
    assert folder.pools() == []
