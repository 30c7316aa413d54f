from __future__ import annotations

import json
from base64 import b64encode
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.deploy import DEPLOY_TYPE, Rejected, RejectReason, parse_deploy
from schemas.rejection import load_json

DATA: dict[str, Any] = {
    "release": "shop-42",
    "services": [
        {"service": "checkout", "version": "1.4.2"},
        {"service": "payments", "version": "2.0.1"},
    ],
    "strategy": None,
    "labels": {"team": "shop"},
}
EVENT: dict[str, Any] = {
    "specversion": "1.0",
    "type": DEPLOY_TYPE,
    "source": "/ci/shop",
    "id": "run-7",
    "time": "2026-01-01T10:00:00Z",
    "data": DATA,
}


def _structured(**changes: Any) -> bytes:
    event = {name: value for name, value in (EVENT | changes).items() if value is not ...}
    return json.dumps(event).encode()


def _cdevent(**changes: Any) -> bytes:
    content = {"environment": {"id": "prod"}, "artifactId": "pkg:oci/checkout@1.4.2"}
    content = {name: value for name, value in (content | changes).items() if value is not ...}
    subject = {"id": "checkout", "type": "service", "content": content}
    return _structured(
        type="dev.cdevents.service.deployed.0.2.0",
        data={"context": {"version": "0.4.1"}, "subject": subject},
    )


def _rejected(value: bytes | None, headers: Any = ()) -> Rejected:
    with pytest.raises(Rejected) as caught:
        parse_deploy(value, headers)
    return caught.value


DIGEST = "0b31b1c02ff458ad9b7b81cbdf8f028bd54699fa151f221d1e8de6817db93427"


@pytest.mark.parametrize(
    ("value", "headers"),
    [
        (_structured(), ()),
        (_structured(), [("content-type", b"application/cloudevents+json; charset=utf-8")]),
        (_structured(comexampleextension="x", datacontenttype="application/json"), ()),
        (_structured(data=..., data_base64=b64encode(json.dumps(DATA).encode()).decode()), ()),
        # A structured content type decides, whatever else the producer adds.
        (
            _structured(),
            [("Content-Type", b"application/cloudevents+json"), ("ce_specversion", b"9")],
        ),
    ],
)
def test_structured_mode(value: bytes, headers: Any) -> None:
    event = parse_deploy(value, headers)
    assert event.deploy.model_dump(mode="json") == DATA
    assert event.origin == "/ci/shop#run-7"
    assert event.environment is None


def test_binary_mode() -> None:
    headers = {f"ce_{name}": str(EVENT[name]).encode() for name in EVENT if name != "data"}
    headers["content-type"] = b"application/json"
    event = parse_deploy(json.dumps(DATA).encode(), headers)
    assert event == parse_deploy(_structured())


@pytest.mark.parametrize("kind", ["deployed.0.2.0", "deployed", "upgraded.0.1.1-draft"])
def test_cdevents_are_a_release_of_one_service(kind: str) -> None:
    value = json.loads(_cdevent()) | {"type": f"dev.cdevents.service.{kind}"}
    event = parse_deploy(json.dumps(value).encode())
    again = parse_deploy(json.dumps(value).encode())
    assert [(s.service, s.version) for s in event.deploy.services] == [("checkout", "1.4.2")]
    assert event.environment == "prod"
    assert event.deploy.release == again.deploy.release
    other = parse_deploy(json.dumps(value | {"id": "run-8"}).encode())
    assert other.deploy.release != event.deploy.release


@pytest.mark.parametrize(
    ("purl", "version"),
    [
        ("pkg:oci/checkout@1.4.2", "1.4.2"),
        ("pkg:oci/checkout@1.4.2?repository_url=ghcr.io/shop&arch=amd64#sub", "1.4.2"),
        ("pkg:oci/checkout@sha256%3Aab12?repository_url=ghcr.io&tag=v7", "v7"),
        (f"pkg:oci/checkout@sha256%3A{DIGEST}", f"sha256:{DIGEST}"),
        (f"pkg:oci/checkout@sha256:{DIGEST}?repository_url=ghcr.io/shop", f"sha256:{DIGEST}"),
        (f"pkg:oci/checkout@sha512%3A{DIGEST * 2}", f"sha512:{DIGEST * 2}"),
        ("pkg:oci/checkout?tag=1.4.2", "1.4.2"),
        ("pkg:npm/%40shop/checkout@2.0.0%2Bbuild.5", "2.0.0+build.5"),
    ],
)
def test_versions_of_package_urls(purl: str, version: str) -> None:
    event = parse_deploy(_cdevent(artifactId=purl))
    assert event.deploy.services[0].version == version


@pytest.mark.parametrize(
    ("value", "reason", "words"),
    [
        (None, "unparsable", ["value", "empty"]),
        (b"", "unparsable", ["value", "empty"]),
        (b"{", "unparsable", ["value", "not valid JSON"]),
        (b"\xff\xfe", "unparsable", ["value", "not valid JSON"]),
        (b'{"a":1,"a":2}', "unparsable", ["a: given twice"]),
        (b'{"a":NaN}', "unparsable", ["NaN"]),
        (b"[" * 100_000, "unparsable", ["nested too deeply"]),
        (b"[]", "not_cloudevent", ["value", "expected a CloudEvents 1.0 object"]),
        (_structured(specversion=...), "not_cloudevent", ["specversion: missing"]),
        (_structured(specversion="0.3"), "not_cloudevent", ["specversion", "'1.0'", "'0.3'"]),
        (_structured(id=""), "not_cloudevent", ["id:", "''"]),
        (_structured(time="yesterday"), "not_cloudevent", ["time:", "'yesterday'"]),
        (_structured(datacontenttype="text/xml"), "not_cloudevent", ["'text/xml'"]),
        (_structured(data_base64="e30="), "not_cloudevent", ["data or data_base64", "both"]),
        (_structured(data=..., data_base64="?"), "unparsable", ["data_base64", "'?'"]),
        (_structured(type="com.example.x"), "unknown_type", ["type", "com.example.x", DEPLOY_TYPE]),
        (_structured(data=...), "invalid_data", ["data:"]),
        (_structured(data=DATA | {"extra": 1}), "invalid_data", ["data.extra: unknown field"]),
        (_structured(data=DATA | {"release": "a b"}), "invalid_data", ["data.release", "'a b'"]),
        (_structured(data=DATA | {"services": []}), "invalid_data", ["at least one service"]),
        (
            _structured(data=DATA | {"services": DATA["services"][:1] * 2}),
            "invalid_data",
            ["data.services", "checkout is there twice"],
        ),
        (
            _structured(data=DATA | {"services": [{"service": "Check Out", "version": 1.4}]}),
            "invalid_data",
            ["data.services[0].service", "'Check Out'", "data.services[0].version", "1.4"],
        ),
        (_cdevent(artifactId="checkout:1.4.2"), "invalid_data", ["artifactId", "checkout:1.4.2"]),
        (_cdevent(environment=...), "invalid_data", ["data.subject.content.environment: missing"]),
        (
            _cdevent(artifactId="pkg:oci/c@a%20b"),
            "invalid_data",
            ["data.subject.content.artifactId: expected a version such as 1.4.2", "'a b'"],
        ),
        (
            _cdevent(artifactId="pkg:oci/c@sha256%3Aab12"),
            "invalid_data",
            ["data.subject.content.artifactId: expected", "digest", "'sha256:ab12'"],
        ),
        (
            _cdevent(artifactId=f"pkg:oci/c@sha256%3A{DIGEST.upper()}"),
            "invalid_data",
            ["data.subject.content.artifactId", "lower case"],
        ),
        (_cdevent(artifactId="pkg:oci/c"), "invalid_data", ["artifactId: got 'pkg:oci/c'"]),
        (_cdevent(artifactId="pkg:oci/c?tag="), "invalid_data", ["artifactId: got"]),
        (
            _structured(data=DATA | {"services": [{"service": "a", "version": "md5:12"}]}),
            "invalid_data",
            ["data.services[0].version: expected a version such as", "'md5:12'"],
        ),
    ],
)
def test_errors_name_field_value_and_expectation(
    value: bytes | None, reason: str, words: list[str]
) -> None:
    error = _rejected(value)
    assert error.reason == reason
    for word in words:
        assert word in error.text


def test_a_batch_is_refused() -> None:
    error = _rejected(b"[]", [("content-type", b"application/cloudevents-batch+json")])
    assert error.reason is RejectReason.NOT_CLOUDEVENT
    assert "one event a record" in error.text


_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)
_HEADER = st.tuples(
    st.sampled_from(["content-type", "ce_type", "ce_specversion", "ce_id", "ce_source", "ce_x"])
    | st.text(),
    st.binary() | st.sampled_from([b"1.0", b"application/cloudevents+json", DEPLOY_TYPE.encode()]),
)


@given(value=st.binary(), headers=st.lists(_HEADER))
def test_any_bytes_are_an_event_or_a_reason(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    _parses_or_is_rejected(value, headers)


@given(changes=st.dictionaries(st.sampled_from([*EVENT, "data_base64", "x"]), _JSON))
def test_any_changed_event_is_an_event_or_a_reason(changes: dict[str, Any]) -> None:
    _parses_or_is_rejected(json.dumps(EVENT | changes).encode(), [])


@given(changes=st.dictionaries(st.sampled_from([*DATA, "x"]), _JSON))
def test_any_changed_data_is_a_request_or_a_reason(changes: dict[str, Any]) -> None:
    _parses_or_is_rejected(_structured(data=DATA | changes), [])


def _parses_or_is_rejected(value: bytes, headers: list[tuple[str, bytes]]) -> None:
    # Nothing but an event or `Rejected`.
    with suppress(Rejected):
        parse_deploy(value, headers)


@pytest.mark.parametrize("text", ['{"a": "\\ud800"}', '{"\\udfff": 1}'])
def test_half_a_surrogate_pair_is_no_text(text: str) -> None:
    with pytest.raises(Rejected) as caught:
        load_json(text.encode())
    assert caught.value.reason is RejectReason.UNPARSABLE


def test_base64_beyond_ascii_is_refused_like_any_other() -> None:
    with pytest.raises(Rejected, match="data_base64"):
        parse_deploy(_structured(data=..., data_base64="ü"), ())


def test_a_service_that_is_no_name_is_named_by_the_field_of_the_cdevent() -> None:
    value = json.loads(_cdevent())
    value["data"]["subject"]["id"] = "/event/service/My Service"
    error = _rejected(json.dumps(value).encode())
    assert error.text.startswith("data.subject.id: ")
    assert "My Service" in error.text


def test_a_digest_is_a_release_id_and_a_digest_of_what_is_asked() -> None:
    event = parse_deploy(_cdevent(artifactId=f"pkg:oci/app@sha256%3A{DIGEST}"))
    assert ":" not in event.deploy.release
    assert event.deploy.labels["artifact"] == f"pkg:oci/app@sha256%3A{DIGEST}"
    assert len(event.deploy.digest()) == 64


def test_what_a_label_keeps_of_a_huge_artifact_is_bounded() -> None:
    purl = f"pkg:oci/{'x' * 500_000}@1.4.2"
    assert len(parse_deploy(_cdevent(artifactId=purl)).deploy.labels["artifact"]) <= 2000


def test_a_flag_and_its_variant_are_a_service_and_its_version() -> None:
    services = [{"service": "checkout", "version": "1.4.2"}, {"flag": "new-checkout", "to": "on"}]
    deploy = parse_deploy(_structured(data=DATA | {"services": services})).deploy
    assert [(one.service, one.version) for one in deploy.services] == [
        ("checkout", "1.4.2"),
        ("new-checkout", "on"),
    ]


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ({"flag": "new-checkout"}, "to: missing, expected a value"),
        ({"flag": "new-checkout", "to": True}, "to: Input should be a valid string, got True"),
        ({"flag": "new-checkout", "to": "on", "service": "x"}, "service: unknown field"),
        ({"flag": "New Checkout", "to": "on"}, "flag: "),
        ({"to": "on"}, "service"),
    ],
)
def test_a_flag_that_is_none_is_refused_by_field(flag: dict[str, Any], said: str) -> None:
    error = _rejected(_structured(data=DATA | {"services": [flag]}))
    assert "data.services[0]" in str(error)
    assert said in str(error)
