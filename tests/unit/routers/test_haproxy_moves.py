"""How servers of a backend get other addresses without a reload."""

from __future__ import annotations

from hypothesis import example, given
from hypothesis import strategies as st

from adapters.routers.haproxy.sockets import Server, moves

ADDRESSES = st.tuples(st.sampled_from(["10.0.0.1", "10.0.0.2", "::1", "web"]), st.integers(1, 3))
WANTED = st.lists(ADDRESSES, min_size=1, max_size=6, unique=True)


@st.composite
def backends(draw: st.DrawFn) -> list[Server]:
    found = draw(st.lists(st.tuples(ADDRESSES, st.booleans()), max_size=6))
    return [Server(f"i{n}", address, serves) for n, (address, serves) in enumerate(found, 1)]


@given(backends(), WANTED)
@example(
    [Server("i1", ("10.0.0.2", 1), serves=True), Server("i2", ("10.0.0.2", 1), serves=True)],
    [("10.0.0.1", 1), ("10.0.0.2", 1)],
)
def test_as_far_as_it_goes_the_wanted_instances_alone_serve(
    there: list[Server], wanted: list[tuple[str, int]]
) -> None:
    found = {one.name: one for one in there}
    for name, address in moves(there, wanted):
        old = found[name]
        assert address is None or address[0] != "web"
        found[name] = Server(name, address or old.address, serves=address is not None)
    serve = {one.address for one in found.values() if one.serves}
    assert serve or not any(one.serves for one in there), "somebody still serves"
    if serve & set(wanted):
        assert serve <= set(wanted)
    kept = {one.address for one in there if one.serves}
    if all(host != "web" or (host, port) in kept for host, port in wanted):
        assert serve == set(wanted) or len(wanted) > len(there)


def test_nothing_moves_where_all_is_as_it_shall_be() -> None:
    there = [Server("i1", ("10.0.0.1", 1), serves=True), Server("i2", ("a", 2), serves=False)]
    assert moves(there, [("10.0.0.1", 1)]) == []
