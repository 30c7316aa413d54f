"""The summary of a release for pipelines: Markdown in which nothing from outside is markup."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from aviary.api.source import Look
from aviary.api.summary import MOMENTS_MOST, digest_of, markdown
from schemas.event_kinds import EventType
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.release import ReleaseStatus, ServiceStatus
from tests.hostile import MARKUP, TEXTS, every
from tests.unit.api.fakes import FakeSource, app_of, bearer, client_of
from tests.unit.ingestion.fakes import FakeWriter

EVENT = {
    "specversion": "1.0",
    "type": "dev.aviary.release.requested.v1",
    "source": "/ci",
    "id": "1",
    "data": {
        "release": "shop-1",
        "services": [{"service": name, "version": "2"} for name in ("ledger", "checkout")],
    },
}
_OURS = re.compile(r"^## |^### |^- |^> |^\|(---\|)+$|`shop-1`|\\.", re.MULTILINE)


def told(kind: EventType, **data: Any) -> dict[str, Any]:
    return {"type": kind.value, "time": "2026-03-01T12:00:00Z", "data": data}


async def test_the_answer_to_an_event_says_where_its_release_is_told_of() -> None:
    source = FakeSource()
    async with client_of(app_of(source, writer=FakeWriter())) as http:
        headers = bearer("all") | {"content-type": "application/cloudevents+json"}
        accepted = await http.post("/events", content=json.dumps(EVENT), headers=headers)
        assert accepted.status_code == 202, accepted.text
        place = "/" + accepted.headers["location"]
        found = await http.get(place, headers=bearer("reader"))
        assert found.status_code == 200
        assert found.headers["content-type"] == "text/markdown; charset=utf-8"
        assert (found.headers["aviary-phase"], found.headers["aviary-asks"]) == ("running", "true")
        match = {"if-none-match": found.headers["etag"]}
        again = await http.get(place, headers=bearer("reader") | match)
        assert (again.status_code, again.headers["aviary-phase"]) == (304, "running")
        other = await http.get("/releases/shop-1/summary?of=0", headers=bearer("reader"))
        assert (other.status_code, other.json()["reason"]) == (409, "other")
        hidden = await http.get(place, headers=bearer("other"))
        assert (hidden.status_code, hidden.json()["reason"]) == (404, "unknown")
        batch = headers | {"content-type": "application/cloudevents-batch+json"}
        several = await http.post("/events", content=json.dumps([EVENT]), headers=batch)
        assert "location" not in several.headers


def test_a_release_is_told_by_its_services_and_versions() -> None:
    one = digest_of({"a": "1", "b": "2"})
    assert one == digest_of({"b": "2", "a": "1"})
    assert len({one, digest_of({"a": "1"}), digest_of({"a": "1", "b": "3"})}) == 3


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
@pytest.mark.parametrize("phase", [ReleasePhase.RUNNING, ReleasePhase.ROLLED_BACK])
def test_nothing_from_outside_is_markup(text: str, phase: ReleasePhase) -> None:
    services = tuple(every(ServiceStatus, text, phase=one, step=0) for one in CanaryPhase)
    status = every(ReleaseStatus, text, phase=phase, services=services, release="shop-1")
    events = [
        told(kind, text=text, cause={"text": text}, service=text, verdict={"sentence": text})
        for kind in EventType
    ]
    page = markdown(Look(status, {}, {}), events, {})
    assert not MARKUP.search(_OURS.sub("·", page))
    for line in page.splitlines():
        bare = re.sub(r"\\.", "", line)
        assert bare.count("|") in {0, 7, 9}, "a cell ends where it ends"
        assert "<" not in bare


def test_a_moments_shows_its_beginning_and_its_end() -> None:
    status = FakeSource().status
    events = [
        told(EventType.CANARY_SHIFTED, service="a", version="2", weight=n) for n in range(500)
    ]
    page = markdown(Look(status, {}, {}), [*events, "junk", {"data": 1}], {"release": "https://x"})
    lines = [line for line in page.splitlines() if line.startswith("- ")]
    assert len(lines) == MOMENTS_MOST + 1
    assert lines[0].endswith("a 2 has 0 %")
    assert lines[-1].endswith("a 2 has 499 %")
    assert lines[MOMENTS_MOST // 2] == "- … 300 more"
    assert "[release](https://x)" in page
