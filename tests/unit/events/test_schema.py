"""Every type of event has a model, a schema, an example and a row in the reference."""

from __future__ import annotations

import copy
import json
import re
from typing import Any

import pytest
from jsonschema import (  # type: ignore[import-untyped]
    Draft202012Validator,
    FormatChecker,
)

from aviary.cli.catalogs import events_text
from schemas.event_data import DATA
from schemas.event_kinds import CDEventType, EventType
from tests.unit.cli.conftest import Run, run  # noqa: F401 - a fixture
from tests.unit.events.page import PAGE, ROOT, page
from tests.unit.events.samples import samples

STORED = (ROOT / "docs/events.schema.json").read_text(encoding="utf-8")
REFERENCE = (ROOT / "docs/reference/events.md").read_text(encoding="utf-8")
VALIDATOR = Draft202012Validator(json.loads(STORED), format_checker=FormatChecker())
TYPES = [*EventType, *CDEventType]


def example(kind: str) -> dict[str, Any]:
    """The example of the page."""
    (text,) = re.findall(
        rf"^## {re.escape(kind)}\n\n```json\n(.*?)```", PAGE.read_text(), re.DOTALL | re.MULTILINE
    )
    document: dict[str, Any] = json.loads(text)
    return document


def test_the_schema_in_the_docs_is_current() -> None:
    assert events_text() == STORED, (
        "run: python -m aviary schema --events -o docs/events.schema.json"
    )


def test_the_command_prints_it(run: Run) -> None:  # noqa: F811 - the fixture
    assert run("schema", "--events").stdout == STORED


def test_the_examples_are_current() -> None:
    assert page() == PAGE.read_text(encoding="utf-8"), "run: python -m tests.unit.events.page"


def test_every_type_has_a_model_and_a_sample() -> None:
    values = {kind.value for kind in TYPES}
    assert set(DATA) == values
    assert set(samples()) == values


@pytest.mark.parametrize("kind", TYPES)
def test_every_example_fits_schema_and_model(kind: str) -> None:
    document = example(kind)
    assert document["type"] == kind
    VALIDATOR.validate(document)
    DATA[kind].model_validate(document["data"])


@pytest.mark.parametrize("kind", TYPES)
def test_every_type_has_a_row(kind: str) -> None:
    assert re.search(rf"^\| `{re.escape(kind)}` \|", REFERENCE, re.MULTILINE)


@pytest.mark.parametrize("kind", TYPES)
def test_the_schema_refuses_what_lacks_its_data_and_takes_what_has_more(kind: str) -> None:
    document = example(kind)
    more = copy.deepcopy(document)
    more["data"]["added"] = more["added"] = 1
    VALIDATOR.validate(more)
    assert not VALIDATOR.is_valid(document | {"data": {}})
    assert not VALIDATOR.is_valid(document | {"type": "dev.aviary.nosuch.v1"})
    assert not VALIDATOR.is_valid(document | {"time": 0})
