"""Any record on the topic of deploy events: it is an event, or it is refused with a reason."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from aviary.catalogs import make_catalog
from schemas.deploy import DEPLOY_TYPE, parse_deploy
from schemas.rejection import Rejected
from workflows.planning import PlanError, plan_release

_CATALOG = make_catalog(
    {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}, "metrics": []},
        "services": {"checkout": {}, "cart": {"depends_on": ["checkout"]}},
    }
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda each: (
        st.lists(each, max_size=4) | st.dictionaries(st.text(max_size=9), each, max_size=4)
    ),
    max_leaves=12,
)
_WORD = st.sampled_from(["checkout", "cart", "1.2.3", "r-1", "", "ß", "\ud800", "x" * 3000])
_ANY = _WORD | _JSON
_DATA = st.fixed_dictionaries(
    {},
    optional={
        "release": _ANY,
        "services": st.lists(
            st.fixed_dictionaries({}, optional={"service": _ANY, "version": _ANY, "more": _ANY}),
            max_size=4,
        )
        | _ANY,
        "strategy": _ANY,
        "labels": st.dictionaries(st.text(max_size=5), _ANY, max_size=3) | _ANY,
        "more": _ANY,
    },
)
_CD_DATA = st.fixed_dictionaries(
    {
        "subject": st.fixed_dictionaries(
            {
                "id": _ANY,
                "content": st.fixed_dictionaries(
                    {
                        "environment": st.fixed_dictionaries({"id": _ANY}) | _ANY,
                        "artifactId": _ANY
                        | st.builds("pkg:{}@{}?tag={}".format, _WORD, _WORD, _WORD),
                    }
                )
                | _ANY,
            }
        )
        | _ANY
    }
)
_TYPES = st.sampled_from(
    [DEPLOY_TYPE, "dev.cdevents.service.deployed.0.2.0", "dev.cdevents.service.upgraded", "x"]
)
_EVENT = st.fixed_dictionaries(
    {"specversion": st.just("1.0") | _ANY, "type": _TYPES | _ANY, "source": _ANY, "id": _ANY},
    optional={
        "data": _DATA | _CD_DATA | _ANY,
        "data_base64": st.text(max_size=40) | _ANY,
        "time": st.datetimes().map(str) | _ANY,
        "datacontenttype": st.just("application/json") | _ANY,
        "subject": _ANY,
    },
)
_HEADERS = st.lists(
    st.tuples(
        st.sampled_from(
            ["content-type", "ce_specversion", "ce_type", "ce_source", "ce_id", "ce_time"]
        )
        | st.text(max_size=12),
        st.none()
        | st.binary(max_size=30)
        | st.sampled_from(
            [b"1.0", b"application/cloudevents+json", b"application/json", DEPLOY_TYPE.encode()]
        ),
    ),
    max_size=7,
)


def _written(event: Any) -> bytes:
    return json.dumps(event).encode()


def _decided(value: bytes | None, headers: list[tuple[str, Any]]) -> None:
    try:
        event = parse_deploy(value, headers)
        assert len(event.deploy.digest()) == 64
        plan_release(_CATALOG, event.deploy, source=event.origin)
    except (Rejected, PlanError) as why:
        refused = why.text
    else:
        return
    assert 0 < len(refused) <= 4000


@given(event=_EVENT, headers=_HEADERS)
def test_a_structured_event_is_accepted_or_refused(
    event: dict[str, Any], headers: list[tuple[str, Any]]
) -> None:
    _decided(_written(event), headers)


@given(data=_DATA | _CD_DATA | _ANY, headers=_HEADERS, kind=_TYPES)
def test_a_binary_event_is_accepted_or_refused(
    data: Any, headers: list[tuple[str, Any]], kind: str
) -> None:
    given_headers = [("ce_specversion", b"1.0"), ("ce_type", kind.encode())]
    _decided(_written(data), [*given_headers, ("ce_source", b"/ci"), ("ce_id", b"1"), *headers])


@given(value=st.none() | st.binary(max_size=200), headers=_HEADERS)
def test_any_bytes_are_refused(value: bytes | None, headers: list[tuple[str, Any]]) -> None:
    _decided(value, headers)
