"""What an API server answers, and what becomes of it: errors of ours, in its own words."""

from __future__ import annotations

from pathlib import Path

import pytest

from adapters.errors import AdapterError, Retryable, Terminal
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.errors import (
    Busy,
    Conflicted,
    Denied,
    Expired,
    Missing,
    Refused,
    Unauthorized,
    UnknownKind,
)
from adapters.kubernetes.resources import DEPLOYMENTS, NAMESPACES, PODS
from tests.unit.kubernetes.server import Said, serving, status

BODY = {"metadata": {"name": "checkout"}}


@pytest.mark.parametrize(
    ("answer", "error", "kind"),
    [
        (status(400, "not so"), Refused, Terminal),
        (status(401, "Unauthorized"), Unauthorized, Retryable),
        (status(403, 'forbidden: User "x" cannot create resource'), Denied, Retryable),
        (status(404, "the server could not find the requested resource"), UnknownKind, Terminal),
        (status(404, "gone", name="checkout"), Missing, Terminal),
        (status(409, "the object has been modified", "Conflict"), Conflicted, Retryable),
        (status(410, "too old resource version"), Expired, Retryable),
        (status(413, "too large"), Refused, Terminal),
        (status(415, "unsupported"), Refused, Terminal),
        (status(422, "spec.selector: field is immutable"), Refused, Terminal),
        (status(500, "etcdserver: request timed out"), Busy, Retryable),
        (status(503, "apiserver is shutting down"), Busy, Retryable),
    ],
)
async def test_each_answer_is_tried_again_or_never(
    answer: Said, error: type[AdapterError], kind: type[AdapterError]
) -> None:
    async with serving(answer) as server:
        client = KubernetesClient(server.connection())
        with pytest.raises(error, match="deployments.apps shop/checkout") as raised:
            await client.replace(DEPLOYMENTS, BODY, "shop")
        await client.aclose()
    assert isinstance(raised.value, kind)
    assert answer.body["message"] in str(raised.value)


async def test_what_is_forbidden_says_by_what() -> None:
    role = status(403, 'pods is forbidden: User "x" cannot list resource "pods"')
    quota = status(403, 'pods "a" is forbidden: exceeded quota: tight')
    async with serving(role, quota) as server:
        client = KubernetesClient(server.connection())
        with pytest.raises(Denied) as by_role:
            await client.list_all(PODS, "shop")
        with pytest.raises(Denied) as by_quota:
            await client.list_all(PODS, "shop")
        await client.aclose()
    assert (by_role.value.by_role, by_role.value.by_quota) == (True, False)
    assert (by_quota.value.by_role, by_quota.value.by_quota) == (False, True)


async def test_one_that_is_not_there_is_none_and_not_an_error() -> None:
    async with serving(status(404, "not found", name="checkout")) as server:
        client = KubernetesClient(server.connection())
        assert await client.get(DEPLOYMENTS, "checkout", "shop") is None
        assert not await client.delete(DEPLOYMENTS, "checkout", "shop")
        await client.aclose()


async def test_a_busy_server_is_asked_again_when_it_wants_to_be() -> None:
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    busy = Said(429, {"message": "too many requests"}, {"retry-after": "7"})
    async with serving(busy, busy, Said(200, BODY)) as server:
        client = KubernetesClient(server.connection(), sleep=sleep)
        assert await client.get(NAMESPACES, "shop") == BODY
        await client.aclose()
    assert pauses == [7.0, 7.0]


async def test_a_server_that_wants_longer_than_we_have_is_told_of() -> None:
    busy = Said(429, {"message": "too many requests"}, {"retry-after": "31"})
    async with serving(busy) as server:
        client = KubernetesClient(server.connection(timeout_s=30))
        with pytest.raises(Busy, match="too many requests") as raised:
            await client.get(NAMESPACES, "shop")
        await client.aclose()
    assert raised.value.after_s == 31


async def test_a_token_that_was_rotated_is_read_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first")
    async with serving(Said(200, BODY), status(401, "Unauthorized"), Said(200, BODY)) as server:
        client = KubernetesClient(server.connection(token_file=str(token)))
        await client.get(NAMESPACES, "shop")
        token.write_text("second")
        await client.get(NAMESPACES, "shop")
        await client.aclose()
    assert [one.headers["authorization"] for one in server.asked] == [
        "Bearer first",
        "Bearer second",
        "Bearer second",
    ]


async def test_a_token_that_is_refused_twice_is_told_of_and_never_shown(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("very-secret")
    async with serving(status(401, "Unauthorized")) as server:
        client = KubernetesClient(server.connection(token_file=str(token)))
        with pytest.raises(Unauthorized) as raised:
            await client.get(NAMESPACES, "shop")
        await client.aclose()
    assert len(server.asked) == 2
    assert "very-secret" not in str(raised.value)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Said(200, raw=b"<html>"), "no JSON"),
        (Said(200, raw=b"[" * 100_000), "no JSON"),
        (Said(200, raw=b"[]"), "expected an object"),
        (Said(200, raw=b"{", cut=True), "RemoteProtocolError"),
        (Said(302, headers={"location": "http://elsewhere/"}), "HTTP 302"),
    ],
)
async def test_what_is_no_answer_is_tried_again(answer: Said, words: str) -> None:
    async with serving(answer) as server:
        client = KubernetesClient(server.connection())
        with pytest.raises((Retryable, Refused), match=words):
            await client.get(NAMESPACES, "shop")
        await client.aclose()


async def test_a_server_that_does_not_answer_in_time_is_tried_again() -> None:
    async with serving(Said(200, BODY, after_s=30)) as server:
        client = KubernetesClient(server.connection(timeout_s=1))
        with pytest.raises(Retryable, match="within 1 s|ReadTimeout"):
            await client.get(NAMESPACES, "shop")
        await client.aclose()


async def test_nobody_there_is_tried_again() -> None:
    async with serving(Said()) as server:
        connection = server.connection()
    client = KubernetesClient(connection)
    with pytest.raises(Retryable, match=f"{server.url}: ConnectError"):
        await client.get(NAMESPACES, "shop")
    await client.aclose()


async def test_a_list_is_read_page_by_page() -> None:
    def page(name: str, more: str) -> Said:
        about = {"continue": more, "resourceVersion": "7"}
        return Said(200, {"metadata": about, "items": [{"metadata": {"name": name}}]})

    async with serving(page("a", "next"), page("b", "")) as server:
        client = KubernetesClient(server.connection())
        found, since = await client.list_all(PODS, "shop", labels="app=shop")
        await client.aclose()
    assert [one["metadata"]["name"] for one in found] == ["a", "b"]
    assert {one["kind"] for one in found} == {"Pod"}
    assert since == "7"
    assert "continue=next" in server.asked[1].line
    assert all("labelSelector=app%3Dshop" in one.line for one in server.asked)


async def test_a_watch_gives_changes_and_ends_with_what_the_server_says() -> None:
    lines = [
        b'{"type":"ADDED","object":{"metadata":{"name":"a"}}}',
        b'{"type":"BOOKMARK","object":{}}',
        b'{"type":"ERROR","object":{"code":410,"message":"too old resource version"}}',
    ]
    async with serving(Said(raw=b"\n".join(lines) + b"\n")) as server:
        client = KubernetesClient(server.connection())
        watch = client.watch(PODS, "shop", since="1")
        assert await anext(watch) == ("ADDED", {"metadata": {"name": "a"}})
        with pytest.raises(Expired, match="too old"):
            await anext(watch)
        await client.aclose()


async def test_names_of_objects_can_not_leave_their_place_in_the_address() -> None:
    assert PODS.path("shop", "../../secrets/x") == (
        "/api/v1/namespaces/shop/pods/..%2F..%2Fsecrets%2Fx"
    )


async def test_an_applied_body_has_our_name_as_the_manager_and_forces_nothing() -> None:
    async with serving(Said(200, BODY)) as server:
        client = KubernetesClient(server.connection())
        await client.apply(DEPLOYMENTS, BODY, "shop")
        await client.aclose()
    (asked,) = server.asked
    assert "fieldManager=aviary" in asked.line
    assert "force=false" in asked.line
    assert asked.headers["content-type"] == "application/apply-patch+yaml"
    assert asked.json == {"apiVersion": "apps/v1", "kind": "Deployment", **BODY}
