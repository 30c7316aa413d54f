"""The planner: any graph, any order of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from hypothesis import given
from hypothesis import strategies as st

from schemas.release import CanaryPhase
from workflows import plan

Graph = Mapping[str, frozenset[str]]


@st.composite
def graphs(draw: st.DrawFn) -> Graph:
    """An acyclic graph, closed transitively as the plan of a release is."""
    names = [f"s{n}" for n in range(draw(st.integers(1, 7)))]
    needs: dict[str, frozenset[str]] = {}
    for index, name in enumerate(names):
        direct = draw(st.sets(st.sampled_from(names[:index]))) if index else set()
        needs[name] = frozenset(direct).union(*(needs[one] for one in direct))
    return needs


class Simulation:
    """Carries out the planner's actions as the workflow does; Hypothesis picks what happens."""

    def __init__(self, graph: Graph, max_parallel: int) -> None:
        self.graph = graph
        self.max_parallel = max_parallel
        self.phases = dict.fromkeys(graph, CanaryPhase.WAITING)
        self.aborting = self.soaking = self.soaked = self.finalizing = False
        self.finished: bool | None = None
        self.ordered: set[str] = set()
        self.started: list[str] = []
        self.went_back: list[str] = []
        self.finalized: list[str] = []

    def view(self) -> plan.View:
        return plan.View(
            depends_on=self.graph,
            phases=self.phases,
            max_parallel=self.max_parallel,
            aborting=self.aborting,
            soaked=self.soaked,
            finalizing=self.finalizing,
            ordered=frozenset(self.ordered),
        )

    def settle(self) -> None:
        """Carry out actions until there is only waiting."""
        while self.finished is None:
            actions = plan.next_actions(self.view())
            before = self._snapshot()
            for action in actions:
                self._carry_out(action)
            if self._snapshot() == before:
                return

    def _snapshot(self) -> tuple[object, ...]:
        flags = (self.soaking, self.finalizing, self.finished)
        return (*flags, len(self.ordered), tuple(self.phases.values()))

    def _carry_out(self, action: plan.Action) -> None:
        match action:
            case plan.Start(service):
                assert not self.aborting
                assert all(self.phases[n] is CanaryPhase.HOLDING for n in self.graph[service])
                self.started.append(service)
                self.phases[service] = CanaryPhase.BAKING
            case plan.Skip(service):
                self.phases[service] = CanaryPhase.SKIPPED
            case plan.RollBack(service) | plan.Finalize(service):
                assert service not in self.ordered
                self.ordered.add(service)
            case plan.Soak():
                self.soaking = True
            case plan.BeginFinalize():
                self.finalizing = True
            case plan.Finish(rolled_back):
                self.finished = rolled_back

    def moving(self) -> list[str]:
        return [name for name, phase in self.phases.items() if phase is CanaryPhase.BAKING]

    def happenings(self) -> list[tuple[str, str]]:
        """What the world may do next."""
        possible = [("hold", name) for name in self.moving()]
        if not self.finalizing and not self.aborting:
            possible += [("fail", name) for name in self.moving()]
            possible += [("alert", "")] if self.started else []
        if self.soaking and not self.soaked and not self.aborting:
            possible.append(("soaked", ""))
        possible += [("close", name) for name in self.ordered if not self.phases[name].closed]
        return possible

    def happen(self, what: str, service: str) -> None:
        match what:
            case "hold":
                self.phases[service] = CanaryPhase.HOLDING
            case "fail":
                self.phases[service] = CanaryPhase.ROLLED_BACK
                self.went_back.append(service)
                self.aborting = True
            case "alert":
                self.aborting = True
            case "soaked":
                self.soaked = True
            case _ if self.finalizing:
                self.phases[service] = CanaryPhase.FINALIZED
                self.finalized.append(service)
            case _:
                self.phases[service] = CanaryPhase.ROLLED_BACK
                self.went_back.append(service)


@given(graphs(), st.integers(1, 4), st.data())
def test_any_release_ends_in_order(graph: Graph, max_parallel: int, data: st.DataObject) -> None:
    world = Simulation(graph, max_parallel)
    world.settle()
    while world.finished is None:
        assert len(world.moving()) <= max_parallel
        possible = world.happenings()
        assert possible, "nothing moves and nothing has ended"
        world.happen(*data.draw(st.sampled_from(sorted(possible))))
        world.settle()

    assert len(set(world.started)) == len(world.started), "nothing twice"
    if world.finished:
        assert sorted(world.went_back) == sorted(world.started), "all that was touched, and only it"
        for place, service in enumerate(world.went_back):
            users = {name for name, needs in graph.items() if service in needs}
            touched_users = users & set(world.started)
            assert touched_users <= set(world.went_back[:place]), "dependents go back first"
    else:
        assert sorted(world.finalized) == sorted(graph)
        for place, service in enumerate(world.finalized):
            assert graph[service] <= set(world.finalized[:place])


@given(graphs(), st.integers(1, 4), st.data())
def test_a_release_in_which_nothing_goes_wrong_is_finalized(
    graph: Graph, max_parallel: int, data: st.DataObject
) -> None:
    world = Simulation(graph, max_parallel)
    world.settle()
    while world.finished is None:
        wrong = {"fail", "alert"}
        possible = sorted(one for one in world.happenings() if one[0] not in wrong)
        assert possible, "nothing moves and nothing has ended"
        world.happen(*data.draw(st.sampled_from(possible)))
        world.settle()
    assert world.finished is False
    assert set(world.phases.values()) == {CanaryPhase.FINALIZED}
    assert world.soaked, "only after its soak"


@given(graphs(), st.booleans())
def test_a_paused_release_neither_soaks_nor_finalizes(graph: Graph, soaked: bool) -> None:
    phases = dict.fromkeys(graph, CanaryPhase.HOLDING)
    view = plan.View(depends_on=graph, phases=phases, soaked=soaked)
    assert plan.next_actions(view) == ((plan.BeginFinalize() if soaked else plan.Soak()),)
    assert plan.next_actions(replace(view, paused=True)) == ()


@given(graphs(), st.integers(1, 4))
def test_a_paused_release_starts_nothing(graph: Graph, max_parallel: int) -> None:
    phases = dict.fromkeys(graph, CanaryPhase.WAITING)
    view = plan.View(depends_on=graph, phases=phases, max_parallel=max_parallel, paused=True)
    assert plan.next_actions(view) == ()


def test_a_person_may_send_a_service_back_out_of_order() -> None:
    graph = {"a": frozenset[str](), "b": frozenset({"a"})}
    phases = {"a": CanaryPhase.HOLDING, "b": CanaryPhase.STUCK}
    stuck = plan.View(depends_on=graph, phases=phases, aborting=True, ordered=frozenset({"b"}))
    assert plan.next_actions(stuck) == ()
    forced = plan.View(
        depends_on=graph,
        phases=phases,
        aborting=True,
        ordered=frozenset({"b"}),
        forced=frozenset({"a"}),
    )
    assert plan.next_actions(forced) == (plan.RollBack("a"),)
