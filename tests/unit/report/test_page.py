"""The page: whole, safe, small, and readable without its charts."""

from __future__ import annotations

import re
from datetime import timedelta
from functools import cache

import pytest

from aviary.report.bundle import bundle
from aviary.report.page import render
from schemas.event_kinds import MomentKind
from schemas.release import CanaryPhase, ReleasePhase
from schemas.stages import StaleStage
from schemas.timeline import Timeline
from tests.replay.record import SCENARIOS
from tests.unit.report.reading import Page
from tests.unit.report.sample import NASTY, SHOP, at, many, recorded, timeline_of

NOW = at(200)


@cache
def _page(bad: str | None = "payments", text: str = "too slow") -> str:
    return render(timeline_of(SHOP, bad=bad, text=text), NOW)


@pytest.mark.parametrize("scenario", [one.__name__ for one in SCENARIOS])
def test_every_recorded_release_has_a_page_that_tells_all_its_moments(scenario: str) -> None:
    timeline = recorded(scenario)
    page = Page(render(timeline, timeline.started_at + timedelta(hours=1)))
    for moment in timeline.moments:
        assert moment.text in page.text
        assert moment.by in page.text
    for name in timeline.services:
        assert name in page.text
    assert page.figures["weights"]["data"]


def test_services_that_need_each_other_are_shown_as_in_step() -> None:
    timeline = recorded("in_step")
    seat, travel = sorted(timeline.services)
    page = Page(render(timeline, timeline.started_at + timedelta(hours=1)))
    for one, other in ((seat, travel), (travel, seat)):
        assert f"{one}in step with {other}" in page.text, "in the table"
        assert f"{one}: finalized; in step with {other}." in page.text, "of the drawing, in words"
        assert f"{one} waits for its group ({other}) to have ended step" in page.text


def test_a_weight_of_an_audience_says_whose_requests_it_is_a_share_of() -> None:
    plain = timeline_of(SHOP)
    moments = tuple(
        one.model_copy(update={"whom": "<b>staff"} if one.weight in {5, 25} else {})
        for one in plain.moments
    )
    page = Page(render(plain.model_copy(update={"moments": moments}), NOW))
    assert "5 % of <b>staff" in page.text
    assert "25 % of <b>staff" in page.text
    assert "50 % of <b>staff" not in page.text
    assert "of <b>staff" not in Page(render(plain, NOW)).text


def test_other_peoples_words_stay_words() -> None:
    html = _page(text=NASTY)
    plain, nasty = Page(_page()), Page(html)
    assert nasty.elements == plain.elements
    assert NASTY in nasty.text
    assert "<img" not in html
    assert html.count("</script>") == len(nasty.scripts) == 3
    texts = [text for trace in nasty.figures["weights"]["data"] for text in trace.get("text", ())]
    assert any("&lt;/script&gt;" in text for text in texts)
    assert not any("<img" in text or "<script" in text for text in texts)


def test_it_asks_nothing_of_a_network() -> None:
    page = Page(_page())
    for tag, attributes in page.attributes:
        assert "src" not in attributes, tag
        assert (attributes.get("href") or "#").startswith("#"), tag
    policy = next(a["content"] for t, a in page.attributes if a.get("http-equiv"))
    assert policy is not None
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in policy
    assert "url(" not in re.sub(r"url\(#tip\)", "", _page().split('id="plotly"')[0])


def test_plotly_is_there_once_and_packed() -> None:
    page = _page()
    assert page.count(bundle().packed) == 1
    assert len(bundle().packed) < 2_300_000
    assert len(page) - len(bundle().packed) < 400_000


def test_fifty_services_fit_into_one_page() -> None:
    html = render(timeline_of(many(50), bad="service-13"), NOW)
    page = Page(html)
    assert len(html) < 6_000_000
    assert len(page.figures) == 51
    assert page.elements["rect"] == 50


def test_it_says_first_how_it_ended_and_why() -> None:
    text = Page(_page()).text
    head = text[: text.index("Started")]
    assert "rolled back" in head
    assert "Why it went back: a verdict on payments: payments 2.0.1 fails" in head


def test_a_release_that_runs_says_that_it_does_and_when() -> None:
    text = Page(_page(bad=None)).text
    assert "The release goes on: it is running." in text
    assert "2026-03-04 17:20:00 UTC" in text
    assert "not yet" in text


def test_a_release_whose_workflow_is_about_to_close_has_ended() -> None:
    ended = timeline_of(SHOP, bad="payments").model_copy(
        update={"finished_at": None, "execution": "running"}
    )
    text = Page(render(ended, NOW)).text
    assert "2026-03-04 14:46:57 UTC" in text
    assert "not yet" not in text


def test_what_could_not_be_read_is_said() -> None:
    part = timeline_of(SHOP).model_copy(update={"unseen": ("the history of ledger is gone",)})
    assert "the history of ledger is gone" in Page(render(part, NOW)).text


def test_a_release_of_which_nothing_began_has_a_page() -> None:
    whole = timeline_of(SHOP)
    services = {
        name: one.model_copy(
            update={"phase": CanaryPhase.SKIPPED, "judgings": (), "runs": (), "stable": None}
        )
        for name, one in whole.services.items()
    }
    empty = Timeline.model_validate(
        whole.model_dump()
        | {"services": services, "moments": (), "phase": ReleasePhase.ROLLED_BACK}
    )
    page = Page(render(empty, NOW))
    assert page.text.count("It was never begun.") == 5


def test_charts_have_words_beside_them() -> None:
    page = Page(_page())
    labels = [a["aria-label"] for _, a in page.attributes if a.get("class") == "chart"]
    assert len(labels) == 6
    assert all(labels)
    assert page.elements["table"] >= 5
    assert page.elements["caption"] == page.elements["table"]
    assert page.elements["figcaption"] == 6
    assert page.elements["title"] >= 2
    assert "checkout after inventory, payments: rolled back." in page.text


def test_the_configuration_is_shown_once_for_all_that_share_it() -> None:
    text = Page(_page()).text
    assert text.count("Strategy gentle: ") == 1
    assert "Strategy gentle: ledger, inventory, payments, checkout, storefront" in text
    assert "latency of the pack" in text


LONG = f"because {'of one thing and another ' * 200}THE END"


def test_a_long_reason_is_whole_once_and_folded_away() -> None:
    whole = timeline_of(SHOP, bad="payments")
    text = f"paused by ann: {LONG}"
    moments = tuple(
        one.model_copy(update={"reason": LONG, "text": text})
        if one.kind is MomentKind.PAUSED
        else one
        for one in whole.moments
    )
    page = Page(render(whole.model_copy(update={"moments": moments}), NOW))
    assert text in page.text
    assert page.text.count("THE END") == 1
    assert page.elements["details"] == Page(_page()).elements["details"] + 1


def test_a_long_cause_is_cut_at_the_top_and_whole_in_the_timeline() -> None:
    whole = timeline_of(SHOP, bad="payments")
    assert whole.cause is not None
    cause = whole.cause.model_copy(update={"text": LONG})
    moments = tuple(
        one.model_copy(update={"cause": cause, "text": f"the release goes back: {LONG}"})
        if one.kind is MomentKind.ROLLBACK
        else one.model_copy(update={"cause": cause if one.cause else None})
        for one in whole.moments
    )
    told = whole.model_copy(update={"cause": cause, "moments": moments})
    text = Page(render(told, NOW)).text
    assert text.count("THE END") == 1
    assert f"the release goes back: {LONG}" in text
    lead = text[text.index("Why it went back") : text.index("Started")]
    assert lead.endswith("of one thing and …")
    assert len(lead) < 400


@pytest.mark.parametrize(
    ("stopped", "phase", "said"),
    [
        (True, CanaryPhase.ROLLED_BACK, "told to stopstopped, since the service went back"),
        (True, CanaryPhase.FINALIZED, "told to stopstopped"),
        (False, CanaryPhase.ROLLED_BACK, "no wordended without a word"),
    ],
)
def test_a_judging_that_was_stopped_is_told_from_one_that_was_lost(
    stopped: bool, phase: CanaryPhase, said: str
) -> None:
    whole = timeline_of(SHOP)
    ledger = whole.services["ledger"]
    last = ledger.judgings[-1].model_copy(
        update={"verdict": None, "evidence_series": None, "stopped": stopped}
    )
    ended = ledger.model_copy(update={"phase": phase, "judgings": (*ledger.judgings[:-1], last)})
    services = {**whole.services, "ledger": ended}
    text = Page(render(whole.model_copy(update={"services": services}), NOW)).text
    assert text.count(said) == 1
    assert ("ended without a word" in text) is not stopped


def test_a_flag_that_a_release_gave_to_everybody_is_called_stale_in_its_time() -> None:
    timeline = timeline_of(SHOP)
    name, service = next(iter(timeline.services.items()))

    def page(minutes: float, **of_service: object) -> str:
        stages = (*service.plan.stages, StaleStage(after=timedelta(minutes=60)))
        plan = service.plan.model_copy(update={"stages": stages, "version": "on"})
        update = {"plan": plan, "phase": CanaryPhase.FINALIZED, "stable": "off", **of_service}
        services = {**timeline.services, name: service.model_copy(update=update)}
        ended = {"services": services, "finished_at": at(100)}
        return Page(render(timeline.model_copy(update=ended), at(minutes))).text

    said = f"flag {name} is on for everybody since "
    assert said in page(130)
    assert "somebody is told after 1h" in page(130)
    assert f"Stale: {said}" in page(161)
    assert "for more than 1h" in page(161)
    assert said not in page(161, stable="on"), "it was on before"
    assert said not in page(161, phase=CanaryPhase.ROLLED_BACK)
    assert said not in Page(render(timeline, at(161))).text
