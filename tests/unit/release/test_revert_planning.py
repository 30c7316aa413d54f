"""What takes a release back: what stands in the way, and the plan; any graph, any subset of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.alert import Alert, AlertStatus
from schemas.alert_policy import AlertAction
from schemas.deploy import DeployRequested
from schemas.deployment import WantedVersion
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.release import ReleasePlan, ReleaseStatus, ServiceStatus
from schemas.reverting import ObstacleKind, revert_id
from tests.catalogs import make
from workflows import alerts, plan
from workflows.planning import plan_release
from workflows.revert_planning import (
    ContractState,
    EndedRelease,
    LaterFlag,
    ServiceNow,
    plan_revert,
    preview,
)

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
CHAIN = {"ledger": [], "payments": ["ledger"], "checkout": ["payments"]}
DEPLOY = {"kind": "memory", "instances": 2, "progress_deadline": "7m"}


def planned(
    graph: Mapping[str, Sequence[str]], hooks: Sequence[Any] = (), **defaults: Any
) -> ReleasePlan:
    """The plan of a release of all services of a graph."""
    catalog = make(
        {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "metrics": [], **defaults},
            "hooks": list(hooks),
            "services": {name: {"depends_on": list(needs)} for name, needs in graph.items()},
        }
    )
    asked = [{"service": name, "version": "2"} for name in graph]
    return plan_release(
        catalog, DeployRequested.model_validate({"release": "shop-42", "services": asked})
    )


def ended(
    released: ReleasePlan,
    before: Mapping[str, str | None] | None = None,
    phase: ReleasePhase = ReleasePhase.FINALIZED,
    **now: ServiceNow,
) -> EndedRelease:
    """How it ended: each service was at version 1 before, unless it is said otherwise."""
    services = tuple(
        ServiceStatus(
            service=name,
            version=one.version,
            depends_on=one.depends_on,
            phase=CanaryPhase.FINALIZED,
            stable=(before or {}).get(name, "1"),
        )
        for name, one in released.services.items()
    )
    status = ReleaseStatus(
        release=released.release, phase=phase, paused=False, services=services, started_at=AT
    )
    return EndedRelease(released, status, now)


def flagged(**more: Any) -> EndedRelease:
    """A release of a service that was judged with a flag off, which a later release turned on."""
    catalog = make(
        {
            "version": 1,
            "defaults": {"router": {"kind": "memory"}, "metrics": []},
            "services": {
                "ledger": {},
                "checkout": {"depends_on": ["ledger"], "strategy": "dark"},
                "new-checkout": {
                    "depends_on": ["checkout"],
                    "router": {"kind": "flagd", "file": "/f.json"},
                },
            },
            "strategies": {"dark": {"steps": [{"weight": 5, "flags": {"new-checkout": "off"}}]}},
        }
    )

    def plan_of(release: str, **versions: str) -> ReleasePlan:
        services = [{"service": name, "version": one} for name, one in versions.items()]
        asked = {"release": release, "services": services}
        return plan_release(catalog, DeployRequested.model_validate(asked))

    release = ended(plan_of("shop-42", ledger="2", checkout="2"))
    on = plan_of("flags-7", **{"new-checkout": "on"}).services["new-checkout"]
    later = LaterFlag(on, "off", "flags-7", frozenset({"checkout"}), **more)
    return replace(release, flags=(later,))


def test_a_flag_that_was_turned_on_later_is_off_before_its_version_moves() -> None:
    release = flagged()
    assert [[one.service for one in stage] for stage in preview(release, "r").stages] == [
        ["new-checkout"],
        ["checkout"],
        ["ledger"],
    ]
    (note,) = preview(release, "r").stages[0][0].notes
    assert note == "a flag that release flags-7 gave: off before its version goes"
    reverted = plan_revert(release, "r", "slow")
    flag, checkout = reverted.services["new-checkout"], reverted.services["checkout"]
    assert (flag.version, flag.takes_back, flag.router.kind) == ("off", "on", "flagd")
    assert (flag.depends_on, checkout.depends_on) == ((), ("new-checkout",))


def test_a_flag_of_what_did_not_change_is_left_as_it_is() -> None:
    release = flagged()
    same = tuple(
        one.model_copy(update={"stable": "2"}) if one.service == "checkout" else one
        for one in release.status.services
    )
    unchanged = replace(release, status=release.status.model_copy(update={"services": same}))
    assert plan_revert(unchanged, "r", "slow").services.keys() == {"ledger"}


def test_a_flag_that_a_release_has_now_is_in_the_way() -> None:
    assert kinds(flagged(moves=True)) == [(ObstacleKind.NEWER, "new-checkout")]


def kinds(release: EndedRelease) -> list[tuple[ObstacleKind, str | None]]:
    return [(one.kind, one.service) for one in preview(release, "r").obstacles]


def test_dependents_go_back_first_each_to_the_version_before() -> None:
    release = ended(planned(CHAIN), {"checkout": "1.9"})
    made = plan_revert(release, "shop-42.revert", "reverted by ann")
    assert made.stages == (("checkout",), ("payments",), ("ledger",))
    assert made.services["ledger"].depends_on == ("payments",)
    assert {name: one.version for name, one in made.services.items()} == {
        "ledger": "1",
        "payments": "1",
        "checkout": "1.9",
    }
    assert {one.takes_back for one in made.services.values()} == {"2"}
    assert made.reverts == "shop-42"
    assert made.source == "release shop-42, which this takes back: reverted by ann"
    seen = preview(release, "shop-42.revert")
    assert [[one.service for one in stage] for stage in seen.stages] == [
        ["checkout"],
        ["payments"],
        ["ledger"],
    ]


def test_each_gets_all_requests_at_once_unjudged_and_whatever_fires() -> None:
    one = plan_revert(ended(planned(CHAIN)), "r", "why").services["ledger"]
    assert [stage.kind for stage in one.stages] == [
        "preflight",
        "first_deployment",
        "shift",
        "hold",
        "promote",
    ]
    assert (one.metrics, one.hooks) == ((), ())
    alert = Alert(
        status=AlertStatus.FIRING,
        fingerprint="f",
        labels={"alertname": "Errors", "severity": "critical", "service": "ledger"},
        starts_at=AT,
    )
    for severity in ("critical", "nonsense", ""):
        labels = {**alert.labels, "severity": severity}
        fired = alert.model_copy(update={"labels": labels})
        assert alerts.decide(fired, one, began_at=AT).action is AlertAction.RECORD


def test_what_was_stable_before_is_left_alone() -> None:
    release = ended(planned(CHAIN), {"payments": "2"})
    made = plan_revert(release, "r", "why")
    assert made.stages == (("checkout",), ("ledger",))
    assert made.services["ledger"].depends_on == ("checkout",)


def test_services_in_a_cycle_move_in_step() -> None:
    made = plan_revert(ended(planned({"a": ["b"], "b": ["a"], "c": ["a"]})), "r", "why")
    assert made.stages == (("c",), ("a", "b"))
    assert made.services["a"].group == ("a", "b")
    assert "in_step" in [stage.kind for stage in made.services["a"].stages]


def test_the_version_before_is_put_up_by_its_own_order_and_at_once() -> None:
    order = WantedVersion(
        service="ledger",
        version="1",
        release="shop-41",
        generation=7,
        image="registry.example/ledger:1",
        config={"MODE": "old"},
    )
    release = ended(planned({"ledger": []}, deploy=DEPLOY), ledger=ServiceNow(before=order))
    one = plan_revert(release, "r", "why").services["ledger"]
    wanted = one.wanted("r", 8, 2)
    assert wanted.made_of == order.made_of, "what is up still is adopted"
    assert (wanted.version, wanted.instances) == ("1", 2)
    assert one.deploy is not None
    assert one.deploy.prepare == "ahead"
    assert one.stages[0].kind == "deploy"
    (way,) = preview(release, "r").stages[0]
    assert way.notes == ("where 1 is not up any more it is put up first, for at most 7m",)


def test_what_is_not_remembered_and_what_stays_is_said_before() -> None:
    hook = {"name": "migrate", "when": "before_canary", "call": {"kind": "run", "command": ["m"]}}
    plan_ = planned({"ledger": []}, deploy=DEPLOY, hooks=[hook])
    contract = ContractState("drop", done=False, text="until tomorrow")
    (way,) = preview(ended(plan_, ledger=ServiceNow(contracts=(contract,))), "r").stages[0]
    assert way.notes[1:] == (
        "how 1 was put up is not remembered: it is by the recipe of shop-42",
        "what these hooks have done is not undone: migrate",
        "hook drop (until tomorrow) is not called once 1 serves",
    )
    (way,) = preview(ended(planned({"ledger": []})), "r").stages[0]
    assert way.notes == ("its pipeline has to have 1 up",)


@pytest.mark.parametrize(
    ("now", "kind"),
    [
        (ServiceNow(newest="shop-43", serves="3"), ObstacleKind.NEWER),
        (ServiceNow(newest="shop-43", moves=True), ObstacleKind.NEWER),
        (ServiceNow(newest="shop-43", serves="2"), None),
        (ServiceNow(newest="shop-42", serves="2"), None),
        (ServiceNow(), None),
        (ServiceNow(contracts=(ContractState("h", done=True, text="x"),)), ObstacleKind.CONTRACTED),
        (ServiceNow(contracts=(ContractState("h", done=False, text="x"),)), None),
    ],
)
def test_what_stands_in_the_way(now: ServiceNow, kind: ObstacleKind | None) -> None:
    found = kinds(ended(planned(CHAIN), payments=now))
    assert found == ([] if kind is None else [(kind, "payments")])


def test_all_that_stands_in_the_way_is_told_at_once() -> None:
    release = ended(
        planned(CHAIN), {"ledger": None}, payments=ServiceNow(newest="shop-43", serves="3")
    )
    seen = preview(release, "r")
    assert seen.refusal == (
        "ledger had no version before 2; "
        "payments 2 is not the newest: 3 serves since release shop-43"
    )


@pytest.mark.parametrize(
    ("phase", "kind"),
    [
        (ReleasePhase.SOAKING, ObstacleKind.NOT_ENDED),
        (ReleasePhase.FINALIZING, ObstacleKind.NOT_ENDED),
        (ReleasePhase.ROLLED_BACK, ObstacleKind.WENT_BACK),
    ],
)
def test_only_what_was_finalized_is_taken_back(phase: ReleasePhase, kind: ObstacleKind) -> None:
    assert kinds(ended(planned(CHAIN), phase=phase)) == [(kind, None)]


def test_what_changed_nothing_has_nothing_to_take_back() -> None:
    release = ended(planned(CHAIN), dict.fromkeys(CHAIN, "2"))
    assert kinds(release) == [(ObstacleKind.NOTHING_CHANGED, None)]


def test_the_id_is_one_for_each_attempt_and_fits() -> None:
    assert revert_id("shop-42") == "shop-42.revert"
    assert revert_id("shop-42", 2) == "shop-42.revert-2"
    longest, other = "a" * 128, "a" * 127 + "b"
    found = {revert_id(one, attempt) for one in (longest, other) for attempt in (1, 2)}
    assert len(found) == 4
    assert {len(one) for one in found} == {128}


@st.composite
def graphs(draw: st.DrawFn) -> dict[str, list[str]]:
    """Any graph, cycles among them."""
    names = [f"s{n}" for n in range(draw(st.integers(1, 6)))]
    return {name: sorted(draw(st.sets(st.sampled_from(names))) - {name}) for name in names}


def reached(plan_: ReleasePlan, service: str) -> set[str]:
    """All that a service depends on, directly or not; of a group, what is outside of it."""
    found: set[str] = set()
    ahead = list(plan_.services[service].depends_on)
    while ahead:
        name = ahead.pop()
        if name not in found:
            found.add(name)
            ahead += plan_.services[name].depends_on
    return found


@given(graph=graphs(), data=st.data())
def test_whatever_was_released_nobody_goes_back_before_its_dependents(
    graph: dict[str, list[str]], data: st.DataObject
) -> None:
    changed = data.draw(st.sets(st.sampled_from(sorted(graph)), min_size=1))
    forward = planned(graph)
    release = ended(forward, {name: "1" if name in changed else "2" for name in graph})
    made = plan_revert(release, "r", "why")
    assert set(made.services) == changed
    assert {one for stage in made.stages for one in stage} == changed
    users = {
        name: {other for other in changed if name in reached(forward, other)} for name in changed
    }
    phases = dict.fromkeys(made.services, CanaryPhase.WAITING)
    view = plan.View(
        depends_on={name: one.depends_on for name, one in made.services.items()},
        phases=phases,
        max_parallel=made.max_parallel,
        groups={name: one.group for name, one in made.services.items()},
    )
    gone: list[str] = []
    while len(gone) < len(changed):
        begun = [one.service for one in plan.next_actions(view) if isinstance(one, plan.Start)]
        assert begun, "it always goes on"
        for name in begun:
            assert users[name] <= set(gone)
        gone += begun
        view = replace(view, phases={**view.phases, **dict.fromkeys(begun, CanaryPhase.HOLDING)})
