"""CDEvents beside Aviary's own: what they say, what they are made of, and that they do not loop."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jsonschema import (  # type: ignore[import-untyped]
    Draft202012Validator,
    FormatChecker,
)
from temporalio.testing import ActivityEnvironment

from activities.announce import AnnounceActivities, Events
from adapters.memory import MemoryEventLog, MemoryNotifier
from schemas.cdevents_out import CdVersion, artifact, cdevent, with_cdevents
from schemas.deploy import parse_deploy
from schemas.event_kinds import CDEventType, EventType
from schemas.events import CloudEvent
from schemas.ids import TOPIC_ALERTS, TOPIC_DEPLOYS, TOPIC_EVENTS
from schemas.rejection import Rejected, RejectReason
from schemas.release import CauseKind
from tests.unit.events.samples import cause, samples

FINALIZED = samples()[EventType.CANARY_FINALIZED]
BACK = samples()[EventType.CANARY_ROLLEDBACK]
GOING_BACK = samples()[EventType.RELEASE_ROLLINGBACK]

TEXT = {"type": "string", "minLength": 1}
URI = TEXT | {"format": "uri-reference"}


def closed(required: list[str], **properties: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": required,
        "properties": properties,
    }


REFERENCE = closed(["id"], id=TEXT, source=URI)
LINKS = {"type": "array"}


def demanded(kind: CDEventType) -> dict[str, Any]:
    """What CDEvents demands of a type: its tables of fields, written down anew."""
    newer = kind.endswith("0.3.0")
    of_service = closed(["environment", "artifactId"], environment=REFERENCE, artifactId=TEXT)
    of_incident = closed(
        ["environment"],
        description={"type": "string"},
        environment=REFERENCE,
        service=REFERENCE,
        artifactId=TEXT,
    )
    name = kind.split(".")[2]
    spec = {"specversion": {"const": "0.5.0"}} if newer else {"version": {"const": "0.4.1"}}
    context = closed(
        [*spec, "id", "source", "type", "timestamp"],
        **spec,
        id=TEXT,
        source=URI,
        type={"const": f"dev.cdevents.{name}.{kind.split('.')[3]}.0.{3 if newer else 2}.0"},
        timestamp={"type": "string", "format": "date-time"},
        schemaUri=TEXT,
        chainId=TEXT,
        links=LINKS,
    )
    told = {} if newer else {"type": {"const": name}}
    subject = closed(
        ["id", *told, "content"],
        id=TEXT,
        source=URI,
        **told,
        content=of_incident if name == "incident" else of_service,
    )
    return closed(
        ["context", "subject"],
        context=context,
        subject=subject,
        customData={"type": "object"},
        customDataContentType={"type": "string"},
    )


@pytest.mark.parametrize("kind", CDEventType)
def test_it_is_what_cdevents_demands(kind: CDEventType) -> None:
    document = json.loads(samples()[kind].wire())
    validator = Draft202012Validator(demanded(kind), format_checker=FormatChecker())
    validator.validate(document["data"])
    assert not validator.is_valid({**document["data"], "more": 1})


@pytest.mark.parametrize("kind", CDEventType)
def test_the_envelope_says_the_same_as_the_context(kind: CDEventType) -> None:
    one = json.loads(samples()[kind].wire())
    context, subject = one["data"]["context"], one["data"]["subject"]
    assert one["specversion"] == "1.0"
    assert [one["type"], one["id"], one["source"], one["time"], one["subject"]] == [
        context["type"],
        context["id"],
        context["source"],
        context["timestamp"],
        subject["id"],
    ]
    assert one["partitionkey"] == context["chainId"] == "shop-42"


def content(event: CloudEvent | None) -> dict[str, Any]:
    assert event is not None
    found: dict[str, Any] = event.data["subject"]["content"]
    return found


def test_an_upgrade_names_what_serves_now() -> None:
    assert content(cdevent(FINALIZED)) == {
        "environment": {"id": "production"},
        "artifactId": "pkg:generic/checkout@1.4.2",
    }


def test_a_rollback_names_what_serves_again() -> None:
    assert content(cdevent(BACK))["artifactId"] == "pkg:generic/checkout@1.4.1"


def test_an_incident_says_why_and_where() -> None:
    assert content(cdevent(GOING_BACK)) == {
        "description": cause().text,
        "environment": {"id": "production"},
        "service": {"id": "checkout", "source": "/aviary/services"},
        "artifactId": "pkg:generic/checkout@1.4.2",
    }


@pytest.mark.parametrize("kind", CauseKind)
def test_only_verdicts_and_alerts_are_incidents(kind: CauseKind) -> None:
    told = {**GOING_BACK.data, "cause": cause(kind).model_dump(mode="json")}
    found = cdevent(GOING_BACK.model_copy(update={"data": told}))
    assert (found is not None) == (kind in {CauseKind.VERDICT, CauseKind.ALERT})


def test_a_service_that_was_never_touched_was_not_rolled_back() -> None:
    assert cdevent(BACK.model_copy(update={"data": BACK.data | {"stable": None}})) is None


def test_nothing_else_has_one() -> None:
    kinds = {kind for kind in EventType if cdevent(samples()[kind]) is not None}
    assert kinds == {
        EventType.CANARY_FINALIZED,
        EventType.CANARY_ROLLEDBACK,
        EventType.RELEASE_ROLLINGBACK,
    }


def test_each_follows_its_own_and_has_an_id_that_repeats() -> None:
    told = with_cdevents([FINALIZED, samples()[EventType.CANARY_BAKING], BACK])
    assert [one.type.split(".")[1] for one in told] == [
        "aviary",
        "cdevents",
        "aviary",
        "aviary",
        "cdevents",
    ]
    assert told == with_cdevents([FINALIZED, samples()[EventType.CANARY_BAKING], BACK])
    assert told[1].id == f"{FINALIZED.id}/cdevent"
    assert len({(one.source, one.id) for one in told}) == len(told)


@given(
    kind=st.sampled_from(EventType),
    data=st.dictionaries(
        st.sampled_from(["cause", "stable", "version", "services", "environment"]),
        st.none() | st.just({}) | st.text(max_size=3),
    ),
)
def test_whatever_an_event_lacks_none_is_lost(kind: EventType, data: dict[str, Any]) -> None:
    """An older workflow's event must never keep a batch from being published."""
    data = {key: value for key, value in data.items() if _plausible(key, value)}
    one = samples()[kind].model_copy(update={"data": data})
    assert with_cdevents([one])[0] == one


def _plausible(key: str, value: object) -> bool:
    return value is None or isinstance(value, dict) == (key in {"cause", "services"})


def test_the_version_is_escaped_as_package_urls_are() -> None:
    assert artifact("checkout", "1.0+build.7") == "pkg:generic/checkout@1.0%2Bbuild.7"


@pytest.mark.parametrize(
    ("cdevents", "more"),
    [
        (CdVersion.V0_4, [CDEventType.SERVICE_UPGRADED]),
        (CdVersion.V0_5, [CDEventType.SERVICE_UPGRADED_0_5]),
        (None, []),
    ],
)
async def test_they_are_published_where_the_setting_says_so(
    cdevents: CdVersion | None, more: list[CDEventType]
) -> None:
    log = MemoryEventLog()
    announce = AnnounceActivities(log, MemoryNotifier(), cdevents=cdevents)
    await ActivityEnvironment().run(announce.publish, Events(events=(FINALIZED,)))
    types = [one.type for one in log.events]
    assert types == [EventType.CANARY_FINALIZED, *more]


def test_they_are_on_a_topic_that_the_bridge_does_not_read() -> None:
    assert TOPIC_EVENTS not in {TOPIC_DEPLOYS, TOPIC_ALERTS}


@pytest.mark.parametrize("kind", [CDEventType.SERVICE_UPGRADED, CDEventType.SERVICE_ROLLEDBACK_0_5])
def test_mirrored_to_the_deploy_topic_they_start_nothing(kind: CDEventType) -> None:
    with pytest.raises(Rejected) as caught:
        parse_deploy(samples()[kind].wire())
    assert caught.value.reason is RejectReason.UNKNOWN_TYPE


@pytest.mark.parametrize("kind", [CDEventType.SERVICE_UPGRADED, CDEventType.SERVICE_UPGRADED_0_5])
def test_of_others_they_are_still_a_release(kind: CDEventType) -> None:
    document = json.loads(samples()[kind].wire())
    deploy = parse_deploy(json.dumps(document | {"source": "/ci/shop"}).encode()).deploy
    assert [(one.service, one.version) for one in deploy.services] == [("checkout", "1.4.2")]
