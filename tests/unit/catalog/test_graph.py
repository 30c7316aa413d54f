from hypothesis import given

from schemas.graph import components, find_cycles, levels
from tests.unit.catalog.builders import dags, graphs, reachable


@given(dags())
def test_every_name_is_one_level_above_its_highest_dependency(graph: dict[str, list[str]]) -> None:
    level_of = {name: at for at, level in enumerate(levels(graph)) for name in level}
    assert set(level_of) == set(graph)
    for name, needs in graph.items():
        assert level_of[name] == max((level_of[need] + 1 for need in needs), default=0)


@given(dags())
def test_an_acyclic_graph_has_no_cycles(graph: dict[str, list[str]]) -> None:
    assert find_cycles(graph) == []


@given(graphs())
def test_cycles_are_real_disjoint_and_break_the_graph(graph: dict[str, list[str]]) -> None:
    cycles = find_cycles(graph)
    for cycle in cycles:
        for name, need in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert need in graph[name]
    members = [name for cycle in cycles for name in cycle]
    assert len(members) == len(set(members))
    rest = {name: needs for name, needs in graph.items() if name not in members}
    assert sum(map(len, levels(rest))) == len(rest)


def test_a_chain_of_ten_thousand_has_ten_thousand_levels() -> None:
    chain = {f"s{at}": [f"s{at - 1}"] if at else [] for at in range(10_000)}
    assert len(levels(chain)) == 10_000


def test_a_cycle_of_ten_thousand_is_found_whole() -> None:
    ring = {f"s{at}": [f"s{(at + 1) % 10_000}"] for at in range(10_000)}
    assert [len(cycle) for cycle in find_cycles(ring)] == [10_000]


@given(graphs())
def test_components_are_the_names_that_need_each_other(graph: dict[str, list[str]]) -> None:
    found = components(graph)
    assert sorted(name for one in found for name in one) == sorted(graph), "each name once"
    reach = {name: reachable(graph, name) for name in graph}
    of = {name: at for at, one in enumerate(found) for name in one}
    for name in graph:
        for other in graph:
            both = name == other or (other in reach[name] and name in reach[other])
            assert (of[name] == of[other]) == both
        assert all(of[need] <= of[name] for need in reach[name]), "what it depends on comes first"


def test_ten_thousand_names_that_need_each_other_are_one_component() -> None:
    ring = {f"s{at}": [f"s{(at + 1) % 10_000}"] for at in range(10_000)}
    assert [len(one) for one in components(ring)] == [10_000]
    chain = {f"s{at}": [f"s{at - 1}"] if at else [] for at in range(10_000)}
    assert len(components(chain)) == 10_000


def test_names_that_are_no_key_are_left_out() -> None:
    assert components({"a": ["b", "z"], "b": ["a"]}) == [["b", "a"]]
