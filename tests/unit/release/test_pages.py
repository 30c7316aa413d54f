"""The pages of the Temporal UI: what they offer is what is obeyed, and they fit an address."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from markdown_it import MarkdownIt

from aviary.catalogs import make_catalog
from schemas.admission import Entry
from schemas.deploy import DeployRequested
from schemas.release import (
    CanaryInput,
    CanaryPhase,
    CanaryReport,
    Cause,
    CauseKind,
    Command,
    ReleasePhase,
    ReleasePlan,
    ReleaseStatus,
    ServicePlan,
    ServiceStatus,
)
from schemas.verdict import Reason, Verdict, VerdictKind
from tests.hostile import TEXTS, every, harmless
from workflows import describe, pages
from workflows.commands import CommandKind
from workflows.planning import plan_release
from workflows.release_queue import ReleaseQueue
from workflows.service_states import ServiceStates

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
MOST_BYTES = 4096
RUN = "01a200da-11ed-7ab3-a4bd-180d8b048b36"
MOVING = [phase for phase in CanaryPhase if phase not in {CanaryPhase.WAITING, CanaryPhase.SKIPPED}]
VERDICT = Verdict(
    kind=VerdictKind.PASS, reason=Reason.GOOD_ENOUGH, sentence="good | enough " * 20, at=NOW
)
CAUSE = Cause(kind=CauseKind.ALERT, service="s0", text="alert Errors\nfires | loudly " * 20, at=NOW)


def plan_of(count: int) -> ReleasePlan:
    names = [f"s{number}" for number in range(count)]
    document = {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}, "metrics": [], "strategy": "test"},
        "strategies": {
            "test": {"steps": [10, {"weight": 50, "gate": {"text": "look"}}], "bake": "5m"}
        },
        "services": {
            name: {"depends_on": [names[at - 1]] if at else []} for at, name in enumerate(names)
        },
    }
    services = [{"service": name, "version": "2.0"} for name in names]
    deploy = DeployRequested.model_validate({"release": "shop-42", "services": services})
    return plan_release(make_catalog(document), deploy)


def report(phase: CanaryPhase, *, paused: bool = False, step: int = 0) -> CanaryReport:
    return CanaryReport(
        service="s0",
        sequence=1,
        phase=phase,
        weight=10,
        step=step,
        steps=3,
        stable="1.9",
        waits_for="something",
        verdict=VERDICT,
        cause=CAUSE,
        paused=paused,
        at=NOW,
    )


def canary_page(phase: CanaryPhase, *, paused: bool = False, step: int = 0) -> str:
    start = CanaryInput(release="shop-42", plan=plan_of(1).services["s0"])
    return pages.canary(start, report(phase, paused=paused, step=step))


def release_page(
    phase: ReleasePhase, services: CanaryPhase, *, count: int = 3, paused: bool = False
) -> str:
    plan = plan_of(count)
    status = ReleaseStatus(
        release="shop-42",
        phase=phase,
        paused=paused,
        services=tuple(
            ServiceStatus(
                service=name,
                version="2.0",
                depends_on=one.depends_on,
                phase=services,
                stable="1.9",
                waits_for="a long wait " * 20,
                cause=CAUSE,
            )
            for name, one in plan.services.items()
        ),
        cause=CAUSE,
        started_at=NOW,
    )
    said = ["12:00:01 paused by ann: <b>wait</b> | `now`"] * 9
    return pages.release(status, plan, at=NOW, said=said, runs=dict.fromkeys(plan.services, RUN))


def offered(page: str) -> set[str]:
    """The commands that a page says may be given."""
    said = re.split(r"\*\*(?:You may|Now:)", page)[1:]
    return set(re.findall(r"`(\w+)`", said[0])) - {"service"} if said else set()


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("phase", MOVING)
def test_a_canary_offers_just_what_it_obeys(phase: CanaryPhase, *, paused: bool) -> None:
    paused = paused or phase is CanaryPhase.PAUSED
    obeyed = {
        kind.value
        for kind in CommandKind
        if describe.canary_refusal(kind, phase, paused=paused, at="") is None
    }
    assert offered(canary_page(phase, paused=paused)) == obeyed


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("phase", ReleasePhase)
@pytest.mark.parametrize("services", [CanaryPhase.BAKING, CanaryPhase.GATED, CanaryPhase.HOLDING])
def test_a_release_offers_just_what_it_obeys(
    phase: ReleasePhase, services: CanaryPhase, *, paused: bool
) -> None:
    plan = plan_of(3)
    states = ServiceStates(plan)
    for name in plan.services:
        states.set_phase(name, services)
    service = "s0" if phase is ReleasePhase.ROLLING_BACK else None
    obeyed = {
        kind.value
        for kind in CommandKind
        if states.refusal(kind, Command(service=service), phase, paused=paused) is None
    }
    assert offered(release_page(phase, services, paused=paused)) == obeyed


@pytest.mark.parametrize("phase", MOVING)
def test_a_canary_says_why_and_what_is_next(phase: CanaryPhase) -> None:
    page = canary_page(phase)
    assert page.splitlines()[0].startswith("### s0 2.0 ")
    assert "back because" in page
    assert "Last verdict:** PASS" in page
    assert ("**Next:**" in page) is not phase.closed
    assert len(page.encode()) < MOST_BYTES


@pytest.mark.parametrize(
    ("step", "says"), [(0, "50 % of the requests (step 2 of 3)"), (1, "a gate"), (2, "it holds")]
)
def test_a_bake_says_what_comes_after_it(step: int, says: str) -> None:
    assert f"**Next:** {says}" in canary_page(CanaryPhase.BAKING, step=step)


@pytest.mark.parametrize("phase", ReleasePhase)
@pytest.mark.parametrize("count", [1, 3, 200])
def test_a_release_page_fits_and_keeps_its_table(phase: ReleasePhase, count: int) -> None:
    page = release_page(phase, CanaryPhase.BAKING, count=count)
    assert len(page.encode()) < MOST_BYTES
    table = [line for line in page.splitlines() if line.startswith("|")]
    assert {line.count("|") for line in table} == {4}


@pytest.mark.parametrize("phase", ReleasePhase)
def test_what_people_wrote_is_shown_as_it_is(phase: ReleasePhase) -> None:
    page = release_page(phase, CanaryPhase.BAKING)
    assert "<b>" not in page
    assert "&#60;b&#62;wait&#60;/b&#62;" in page
    assert "`now`" not in page


def test_trouble_is_shown_first_where_not_all_services_have_room() -> None:
    plan = plan_of(100)
    phases = {"s90": CanaryPhase.STUCK, "s95": CanaryPhase.GATED}
    services = tuple(
        ServiceStatus(
            service=name,
            version="2.0",
            depends_on=one.depends_on,
            phase=phases.get(name, CanaryPhase.HOLDING),
        )
        for name, one in plan.services.items()
    )
    status = ReleaseStatus(
        release="shop-42",
        phase=ReleasePhase.ROLLING_BACK,
        paused=False,
        services=services,
        started_at=NOW,
    )
    page = pages.release(status, plan, at=NOW, runs=dict.fromkeys(plan.services, RUN))
    assert "STUCK: s90" in page.splitlines()[0]
    assert "[s90]" in page
    assert "[s95]" in page
    assert page.index("[s90]") < page.index("[s95]")
    assert "and 80 more" in page
    assert "80 holding" in page


# --- text from outside ---

_ADDRESS = re.compile(r"https?://|www\.\S|\w@\w|mailto:", re.IGNORECASE)


def rendered(page: str) -> tuple[list[str], str]:
    """The elements of a page, as readers of Markdown make them, and its text."""
    tokens = MarkdownIt("commonmark").enable(["table", "strikethrough"]).parse(page)
    flat = [inner for token in tokens for inner in (token, *(token.children or ()))]
    links = [str(one.attrs["href"]) for one in flat if one.type == "link_open"]
    assert all(link.startswith("/namespaces/%7Bnamespace%7D/workflows/") for link in links)
    text = "".join(one.content for one in flat if one.type in {"text", "code_inline"})
    return [one.type for one in flat if one.type != "text"], text


def pages_of(text: str) -> Iterator[str]:
    """Every page, of everything."""
    services = tuple(
        every(ServiceStatus, text, phase=one, step=0, service=f"{text}{one}") for one in CanaryPhase
    )
    planned = every(ServicePlan, text, strategy=plan_of(1).services["s0"].strategy)
    plan = every(ReleasePlan, text, services={text: planned})
    start = every(CanaryInput, text, plan=planned)
    for phase in CanaryPhase:
        yield pages.canary(start, every(CanaryReport, text, phase=phase, step=0), text)
        yield pages.canary(start, every(CanaryReport, text, phase=phase, paused=False, cause=None))
    for where in ReleasePhase:
        for stopped in (False, True):
            status = every(
                ReleaseStatus, text, phase=where, services=services, paused=stopped, cause=None
            )
            yield pages.release(status, plan, at=NOW, said=[text] * 3, runs={text: RUN})
        gated = every(ServiceStatus, text, phase=CanaryPhase.GATED, step=0, cause=None)
        status = every(ReleaseStatus, text, phase=where, services=(gated,))
        yield pages.release(status, plan, at=NOW, said=[text], runs={})
    yield pages.canary_details(plan, text, text)
    yield pages.release_details(plan)
    line = ReleaseQueue()
    line.holding[text] = line.waiting[text] = every(Entry, text)
    yield pages.admission(line)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_nothing_from_outside_is_markup_an_address_or_a_line(text: str) -> None:
    plain = [rendered(page)[0] for page in pages_of("kind")]
    for page, elements in zip(pages_of(text), plain, strict=True):
        harmless(page)
        found, shown = rendered(page)
        assert set(found) <= set(elements)  # a table may have fewer rows, where texts are long
        for once in ("heading_open", "blockquote_open", "table_open"):
            assert found.count(once) == elements.count(once)
        assert not _ADDRESS.search(shown)


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
def test_a_page_fits_whatever_is_written_in_it(text: str) -> None:
    """Names are at most so long."""
    shown = [page for page in pages_of(text[:63]) if page.startswith("###")]
    assert max(len(page.encode()) for page in shown) < MOST_BYTES


@pytest.mark.parametrize("kind", CommandKind)
def test_a_command_says_who_and_from_where(kind: CommandKind) -> None:
    nobody = "by a person, no name given, in the Temporal UI"
    assert describe.command(kind, Command()).endswith(nobody)
    assert describe.command(kind, Command(reason="late")).endswith(f"{nobody}: late")
    assert describe.command(kind, Command(by="ann", reason="late")).endswith(" by ann: late")


def test_a_paused_page_says_that_nothing_comes_until_resume() -> None:
    for phase in MOVING:
        page = canary_page(phase, paused=True)
        stays = phase.too_late
        assert ("nothing until `resume`" in page) is not stays, phase
    for where in ReleasePhase:
        page = release_page(where, CanaryPhase.BAKING, paused=True)
        assert ("nothing until `resume`" in page) is where.forward, where
    assert "nothing until `resume`" in release_page(ReleasePhase.RUNNING, CanaryPhase.PAUSED)


def test_the_pages_say_who_moves_in_step() -> None:
    pair = ("s0", "s1")
    plan = plan_of(3)
    services = {
        name: one.model_copy(update={"group": pair}) if name in pair else one
        for name, one in plan.services.items()
    }
    plan = plan.model_copy(update={"services": services})
    said = "s0, s1 need each other, and move in step."
    assert said in pages.release_details(plan)
    assert said in pages.canary_details(plan, "s1", RUN)
    assert "in step" not in pages.canary_details(plan, "s2", RUN)
    status = ReleaseStatus(
        release="shop-42",
        phase=ReleasePhase.RUNNING,
        paused=False,
        services=ServiceStates(plan).statuses(),
        started_at=NOW,
    )
    assert status.services[0].group == pair
    holding = [
        one.model_copy(update={"phase": CanaryPhase.HOLDING, "waits_for": ""})
        for one in status.services
    ]
    page = pages.release(status.model_copy(update={"services": tuple(holding)}), plan, at=NOW)
    assert "in step with s1" in page
    groups = [(f"a{n}", f"b{n}") for n in range(6)]
    many = {
        name: plan.services["s0"].model_copy(update={"service": name, "group": group})
        for group in groups
        for name in group
    }
    update = {"services": many, "stages": (tuple(many),)}
    details = pages.release_details(plan.model_copy(update=update))
    assert "So do 2 more groups." in details
