"""Hostile text in every field of what is written elsewhere than on the command line."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from aviary.logs import configure_logs
from aviary.report.page import figures_of, render
from schemas.event_kinds import MomentKind
from schemas.phases import CanaryPhase, ReleasePhase
from schemas.release import Cause
from schemas.timeline import Moment, ServiceTimeline, Timeline
from tests.hostile import AT, TEXTS, every, harmless
from tests.unit.report.reading import Page

hostile = pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS.keys())
_STYLE = re.compile(r"\x1b\[[0-9;]*m")


# --- reports ---


def timeline_of(text: str) -> Timeline:
    moments = tuple(
        every(Moment, text, kind=kind, at=AT, cause=every(Cause, text, text=f"{text} {kind}"))
        for kind in MomentKind
    )
    service = every(ServiceTimeline, text, phase=CanaryPhase.BAKING)
    return every(
        Timeline, text, phase=ReleasePhase.RUNNING, moments=moments, services={text: service}
    )


@hostile
def test_a_report_has_no_element_but_its_own(text: str) -> None:
    page = render(timeline_of(text), AT)
    harmless(page, wrapped=True)
    plain = Page(render(timeline_of("word"), AT))
    assert [name for name, _ in Page(page).attributes if name in {"script", "img", "b"}] == [
        name for name, _ in plain.attributes if name in {"script", "img", "b"}
    ]


@hostile
def test_a_chart_s_texts_are_no_tags(text: str) -> None:
    for shown in strings(figures_of(timeline_of(text), AT)):
        left = shown.replace("<br>", "").replace("<extra>", "").replace("</extra>", "")
        assert "<" not in harmless(left, wrapped=True)


def strings(value: Any) -> Iterator[str]:
    """What a chart shows; the keys of a figure are plotly's and our own."""
    if isinstance(value, dict):
        for inner in value.values():
            yield from strings(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from strings(inner)
    elif isinstance(value, str):
        yield value


# --- logs ---


@pytest.fixture(autouse=True)
def _logs_as_before() -> Iterator[None]:
    root = logging.getLogger()
    before, level = root.handlers[:], root.level
    structlog.reset_defaults()
    yield
    root.handlers[:] = before
    root.setLevel(level)
    structlog.reset_defaults()


def fails(text: str) -> None:
    raise ValueError(text)


def write_everything(text: str) -> None:
    """Through structlog and the standard library, in every place of a line."""
    log = structlog.get_logger(text)
    log.warning(text, value=text, inner={text: [text]}, bytes=text.encode(), **{text: text})
    logging.getLogger("x.y").warning("%s", text, extra={"said": text, "inner": (text,)})
    try:
        fails(text)
    except ValueError:
        log.exception(text, error=ValueError(text))
        logging.getLogger("x.y").exception(text)
        log.warning(text, stack_info=True)


@hostile
def test_a_console_log_has_a_line_for_each_event_and_no_other(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    configure_logs(level="info", fmt="console")
    write_everything(text)
    lines = harmless(_STYLE.sub("", capsys.readouterr().err)).splitlines()
    events = [line for line in lines if not line.startswith("    ")]
    assert len(events) == 5
    assert all(line.startswith("20") for line in events)
    assert any(line.startswith("    Traceback") for line in lines)


@hostile
def test_a_json_log_has_an_object_for_each_event_and_loses_nothing(
    capsys: pytest.CaptureFixture[str], text: str
) -> None:
    configure_logs(level="info", fmt="json")
    write_everything(text)
    lines = harmless(capsys.readouterr().err).splitlines()
    objects = [json.loads(line) for line in lines]
    assert len(objects) == 5
    assert objects[0]["value"] == text
