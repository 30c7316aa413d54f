"""The planner: any graph, any order of events."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from schemas.release import CanaryPhase
from workflows import plan

Graph = Mapping[str, frozenset[str]]
Groups = Mapping[str, tuple[str, ...]]


@st.composite
def grouped(draw: st.DrawFn) -> tuple[Graph, Groups]:
    """Services of which some move in step: what one of a group depends on, all of it do."""
    condensed = draw(graphs())
    members = {name: [f"{name}.{n}" for n in range(draw(st.integers(1, 3)))] for name in condensed}
    graph = {
        one: frozenset(each for need in condensed[name] for each in members[need])
        for name in condensed
        for one in members[name]
    }
    groups = {one: tuple(all_) for all_ in members.values() if len(all_) > 1 for one in all_}
    return graph, groups


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
    """Carries out the planner's actions as the workflow does; Hypothesis picks what happens.

    Args:
        graph: of the services.
        max_parallel: of the release.
        groups: services that move in step.
        steps: of each service that has others than one; between them its group comes together.
        ahead: services whose versions are put up before their turn.
    """

    def __init__(
        self,
        graph: Graph,
        max_parallel: int,
        groups: Groups | None = None,
        steps: Mapping[str, int] | None = None,
        ahead: frozenset[str] = frozenset(),
    ) -> None:
        self.graph = graph
        self.ahead = ahead
        self.told_begin: set[str] = set()
        self.touched: list[str] = []
        """Services whose canaries were started, ahead or not."""
        self.max_parallel = max_parallel
        self.groups = groups or {}
        self.steps = dict.fromkeys(graph, 1) | dict(steps or {})
        self.phases = dict.fromkeys(graph, CanaryPhase.WAITING)
        self.points = dict.fromkeys(graph, 0)
        """The last point that each has come to."""
        self.step = dict.fromkeys(graph, 0)
        """Steps that each has begun, from 1."""
        self.told: dict[str, int] = {}
        self.aborting = self.soaking = self.soaked = self.finalizing = False
        self.finished: bool | None = None
        self.ordered: set[str] = set()
        self.pausing: set[str] = set()
        self.started: list[str] = []
        self.went_back: list[str] = []
        self.finalized: list[str] = []

    def group(self, service: str) -> tuple[str, ...]:
        return self.groups.get(service, (service,))

    def view(self) -> plan.View:
        return plan.View(
            depends_on=self.graph,
            phases=self.phases,
            max_parallel=self.max_parallel,
            paused=bool(self.pausing),
            aborting=self.aborting,
            soaked=self.soaked,
            finalizing=self.finalizing,
            ordered=frozenset(self.ordered),
            groups=self.groups,
            points=self.points,
            told=self.told,
            pausing=frozenset(self.pausing),
            ahead=self.ahead,
            told_begin=frozenset(self.told_begin),
        )

    def settle(self) -> None:
        """Carry out actions until there is only waiting."""
        while self.finished is None:
            actions = plan.next_actions(self.view())
            before = self._snapshot()
            for action in actions:
                self._carry_out(action)
            self._check()
            if self._snapshot() == before:
                return

    def _check(self) -> None:
        for group in set(self.groups.values()):
            begun = [one for one in group if self.phases[one] is not CanaryPhase.WAITING]
            assert not begun or len(begun) == len(group), "a group is begun as a whole"
            if self.aborting or self.finalizing:
                continue
            ahead = max(self.step[one] for one in group)
            for one in group:  # the steps that it does not have, it can't be behind with
                behind = min(ahead, self.steps[one]) - self.step[one]
                assert behind <= 1, "more than a step ahead"
            if any(self.phases[one] is CanaryPhase.HOLDING for one in group):
                assert all(self.step[one] == self.steps[one] for one in group)

    def _snapshot(self) -> tuple[object, ...]:
        flags = (self.soaking, self.finalizing, self.finished)
        told = tuple(self.told.items())
        counts = (len(self.ordered), len(self.told_begin))
        return (*flags, *counts, tuple(self.phases.values()), told)

    def _carry_out(self, action: plan.Action) -> None:
        match action:
            case plan.Start(service) if service in self.ahead:
                assert not self.aborting
                self.touched.append(service)
                self.phases[service] = CanaryPhase.DEPLOYING
            case plan.Start(service):
                self.touched.append(service)
                self._begin(service)
            case plan.Begin(service):
                assert self.phases[service] is CanaryPhase.PREPARED, "its version is up"
                assert service not in self.told_begin, "told twice"
                self.told_begin.add(service)
                self._begin(service)
            case plan.GoOn(service, point):
                assert not self.aborting
                assert self.pausing.isdisjoint(self.group(service)), "one of its group pauses"
                assert point > self.told.get(service, 0), "told twice"
                self.told[service] = point
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

    def _begin(self, service: str) -> None:
        assert not self.aborting
        assert all(self.phases[n] is CanaryPhase.HOLDING for n in self.graph[service])
        self.started.append(service)
        self.phases[service] = CanaryPhase.BAKING
        self.step[service] = 1

    def early(self) -> list[str]:
        """Those that are put up and have not had their turn."""
        return [name for name, phase in self.phases.items() if phase is CanaryPhase.DEPLOYING]

    def moving(self) -> list[str]:
        early = self.early()
        taking = [name for name, phase in self.phases.items() if phase.about.takes_slot]
        return [name for name in taking if name not in early]

    def happenings(self) -> list[tuple[str, str]]:
        """What the world may do next."""
        baking = [name for name, phase in self.phases.items() if phase is CanaryPhase.BAKING]
        waiting = [name for name, phase in self.phases.items() if phase is CanaryPhase.IN_STEP]
        possible = [("end step", name) for name in baking]
        possible += [
            ("go on", name)
            for name in waiting
            if self.told.get(name, 0) >= self.points[name] and name not in self.pausing
        ]
        possible += [("deployed", name) for name in self.early()]
        if not self.finalizing and not self.aborting:
            possible += [("fail", name) for name in [*self.moving(), *self.early()]]
            possible += [("alert", "")] if self.started else []
            possible += [("pause", name) for name in self.moving() if name not in self.pausing]
            possible += [("forget", name) for name in waiting]
        possible += [("resume", name) for name in self.pausing]
        if self.soaking and not self.soaked and not self.aborting:
            possible.append(("soaked", ""))
        possible += [("close", name) for name in self.ordered if not self.phases[name].closed]
        return possible

    def happen(self, what: str, service: str) -> None:  # noqa: C901 - a case for each
        match what:
            case "end step" if service in self.groups:
                self._come_together(service)
            case "end step" | "go on":
                self._go_on(service)
            case "deployed":
                self.phases[service] = CanaryPhase.PREPARED
            case "forget":  # it was reset, and reports anew that it waits
                self.told.pop(service, None)
            case "pause":
                self.pausing.add(service)
            case "resume":
                self.pausing.discard(service)
            case "fail":
                self._back(service)
                self.aborting = True
            case "alert":
                self.aborting = True
            case "soaked":
                self.soaked = True
            case _ if self.finalizing:
                self.phases[service] = CanaryPhase.FINALIZED
                self.finalized.append(service)
            case _:
                self._back(service)

    def _come_together(self, service: str) -> None:
        last = self.step[service] == self.steps[service]
        most = max(self.steps[one] for one in self.group(service))
        self.phases[service] = CanaryPhase.IN_STEP
        self.points[service] = most if last else self.step[service]

    def _go_on(self, service: str) -> None:
        if self.step[service] == self.steps[service]:
            self.phases[service] = CanaryPhase.HOLDING
            return
        self.phases[service] = CanaryPhase.BAKING
        self.step[service] += 1

    def _back(self, service: str) -> None:
        self.phases[service] = CanaryPhase.ROLLED_BACK
        self.pausing.discard(service)
        self.went_back.append(service)


def happen(world: Simulation, data: st.DataObject, *, not_: tuple[str, ...]) -> None:
    possible = sorted(one for one in world.happenings() if one[0] not in not_)
    assert possible, "nothing moves and nothing has ended"
    world.happen(*data.draw(st.sampled_from(possible)))
    world.settle()


@given(graphs(), st.integers(1, 4), st.data())
def test_any_release_ends_in_order(graph: Graph, max_parallel: int, data: st.DataObject) -> None:
    ahead = data.draw(st.frozensets(st.sampled_from(sorted(graph))))
    world = Simulation(graph, max_parallel, ahead=ahead)
    world.settle()
    assert set(world.early()) == ahead, "put up at the release's beginning, all of them"
    while world.finished is None:
        assert len(world.moving()) <= max_parallel
        happen(world, data, not_=("pause",))

    assert len(set(world.started)) == len(world.started), "nothing twice"
    if world.finished:
        assert sorted(world.went_back) == sorted(world.touched), "all that was touched, and only it"
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
        happen(world, data, not_=("fail", "alert", "pause"))
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


def in_steps(data: st.DataObject, most: int = 3) -> tuple[Simulation, Graph]:
    graph, groups = data.draw(grouped())
    steps = {name: data.draw(st.integers(1, most)) for name in graph if name in groups}
    return Simulation(graph, data.draw(st.integers(1, 4)), groups, steps), graph


@given(st.data())
def test_services_that_need_each_other_move_in_step_and_go_back_together(
    data: st.DataObject,
) -> None:
    world, graph = in_steps(data)
    world.settle()
    while world.finished is None:
        alone = len({world.group(name) for name in world.moving()}) == 1
        assert alone or len(world.moving()) <= world.max_parallel
        happen(world, data, not_=())
        if world.aborting:
            for name, phase in world.phases.items():
                users = {one for one, needs in graph.items() if name in needs}
                away = all(world.phases[one].back or world.phases[one].untouched for one in users)
                if away and not (phase.closed or phase.untouched):
                    assert world.ordered >= {
                        one for one in world.group(name) if not world.phases[one].closed
                    }, "all of a group at once"
    assert set(world.phases.values()) <= {
        CanaryPhase.FINALIZED,
        CanaryPhase.ROLLED_BACK,
        CanaryPhase.SKIPPED,
    }
    for place, service in enumerate(world.went_back):
        users = {one for one in world.started if service in graph[one]}
        assert users <= set(world.went_back[:place]), "dependents go back first"


@given(st.data())
def test_no_service_is_left_waiting_for_its_group(data: st.DataObject) -> None:
    world, _ = in_steps(data)
    world.settle()
    for _ in range(40):  # a pause may come and go, a canary forget that it was told
        if world.finished is None:
            happen(world, data, not_=("fail", "alert"))
    while world.finished is None:
        happen(world, data, not_=("fail", "alert", "pause", "forget"))
    assert world.finished is False
    assert set(world.phases.values()) == {CanaryPhase.FINALIZED}


PAIR = {"seat": ("seat", "travel"), "travel": ("seat", "travel")}
ALONE = {"seat": frozenset[str](), "travel": frozenset[str]()}


def in_step(*phases: CanaryPhase, **more: Any) -> tuple[plan.Action, ...]:
    where = dict(zip(PAIR, phases, strict=True))
    view = plan.View(depends_on=ALONE, phases=where, groups=PAIR)
    return plan.next_actions(replace(view, **more))


def test_both_go_on_once_both_have_come() -> None:
    waits, bakes = CanaryPhase.IN_STEP, CanaryPhase.BAKING
    assert in_step(waits, bakes, points={"seat": 2, "travel": 1}) == ()
    both = {"seat": 2, "travel": 2}
    assert in_step(waits, waits, points=both) == (plan.GoOn("seat", 2), plan.GoOn("travel", 2))
    assert in_step(waits, waits, points=both, told={"seat": 2}) == (plan.GoOn("travel", 2),)
    assert in_step(waits, bakes, points={"seat": 2, "travel": 3}) == (plan.GoOn("seat", 2),)


def test_one_that_holds_already_is_waited_for_by_none() -> None:
    holds = in_step(CanaryPhase.IN_STEP, CanaryPhase.HOLDING, points={"seat": 1})
    assert holds == (plan.GoOn("seat", 1),)


def test_a_pause_of_one_keeps_its_group() -> None:
    waits = (CanaryPhase.IN_STEP, CanaryPhase.IN_STEP)
    points = {"seat": 1, "travel": 1}
    assert in_step(*waits, points=points, paused=True, pausing=frozenset({"travel"})) == ()
    others = in_step(*waits, points=points, paused=True, pausing=frozenset({"else"}))
    assert others == (plan.GoOn("seat", 1), plan.GoOn("travel", 1)), "of another group"


def test_a_group_with_more_services_than_may_move_starts_as_one() -> None:
    waiting = (CanaryPhase.WAITING, CanaryPhase.WAITING)
    both = (plan.Start("seat"), plan.Start("travel"))
    assert in_step(*waiting, max_parallel=1) == both
    one = {"seat": frozenset[str](), "travel": frozenset[str](), "other": frozenset[str]()}
    phases = dict(zip(one, (*waiting, CanaryPhase.BAKING), strict=True))
    view = plan.View(depends_on=one, phases=phases, groups=PAIR, max_parallel=2)
    assert plan.next_actions(view) == (), "never one of them alone"
    assert plan.next_actions(replace(view, max_parallel=3)) == both


def test_one_of_a_group_that_could_not_begin_is_begun_before_all_others() -> None:
    begun = in_step(CanaryPhase.BAKING, CanaryPhase.WAITING, max_parallel=1)
    assert begun == (plan.Start("travel"),), "the other waits for it"


def test_a_person_who_sends_one_back_out_of_order_sends_its_group() -> None:
    graph = {**ALONE, "gate": frozenset({"seat", "travel"})}
    phases = dict.fromkeys(graph, CanaryPhase.HOLDING) | {"gate": CanaryPhase.STUCK}
    view = plan.View(
        depends_on=graph,
        phases=phases,
        aborting=True,
        ordered=frozenset({"gate"}),
        groups=PAIR,
        forced=frozenset({"seat"}),
    )
    assert plan.next_actions(view) == (plan.RollBack("seat"), plan.RollBack("travel"))
