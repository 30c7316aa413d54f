"""Objects are listed, and watched from there; nothing that happens between is passed over."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.resources import DEPLOYMENTS
from aviary.watching.following import Following
from tests.unit.kubernetes.server import Said, Server, serving, status


def thing(name: str, version: int) -> dict[str, Any]:
    return {"metadata": {"name": name, "uid": f"uid-{name}", "resourceVersion": str(version)}}


def listed(version: int, *things: dict[str, Any]) -> Said:
    return Said(body={"items": list(things), "metadata": {"resourceVersion": str(version)}})


def watched(*events: tuple[str, dict[str, Any]], cut: bool = False) -> Said:
    lines = [json.dumps({"type": kind, "object": found}).encode() for kind, found in events]
    return Said(raw=b"".join(line + b"\n" for line in lines), cut=cut)


async def follow(server: Server) -> list[str]:
    """What is seen until the server has no new answer left."""
    heard: list[str] = []

    async def pause(_: float) -> None:
        if len(server.answers) == 1:
            over.set()
        await asyncio.sleep(0)

    over = asyncio.Event()
    client = KubernetesClient(server.connection())
    following = Following(
        client,
        DEPLOYMENTS,
        "shop",
        seen=lambda one: heard.append(f"{one['metadata']['name']} {one['metadata'].get('n', '')}"),
        gone=lambda uid: heard.append(f"gone {uid}"),
        listed=lambda uids: heard.append(f"listed {', '.join(sorted(uids))}"),
        sleep=pause,
    )
    running = asyncio.create_task(following.run())
    try:
        async with asyncio.timeout(60):
            await over.wait()
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await client.aclose()
    assert following.trouble
    return heard


def since(server: Server) -> list[str]:
    """From where each watch was begun."""
    lines = [asked.line for asked in server.asked if "watch=true" in asked.line]
    return [line.split("resourceVersion=")[1].split("&")[0] for line in lines]


async def test_a_watch_goes_on_where_it_ended_and_is_begun_anew_when_it_is_too_old() -> None:
    too_old = {"kind": "Status", "code": 410, "message": "too old resource version"}
    async with serving(
        listed(5, thing("cart", 5)),
        watched(("MODIFIED", thing("cart", 7)), ("BOOKMARK", thing("", 20))),
        watched(("ADDED", thing("ledger", 21)), cut=True),
        watched(("DELETED", thing("ledger", 30))),
        watched(("ERROR", too_old)),
        listed(40, thing("checkout", 33)),
        status(503, "shutting down"),
    ) as server:
        heard = await follow(server)
        assert since(server)[:5] == ["5", "20", "21", "30", "40"]
        assert all("allowWatchBookmarks=true" in one.line for one in server.asked[1:2])
        assert all("labelSelector=aviary.dev" in one.line for one in server.asked)
    assert heard == [
        "cart ",
        "listed uid-cart",
        "cart ",
        "ledger ",
        "gone uid-ledger",
        "checkout ",
        "listed uid-checkout",
    ]


async def test_a_list_that_fails_is_made_again() -> None:
    async with serving(
        status(503, "starting"), listed(5, thing("cart", 5)), status(401, "expired")
    ) as server:
        assert await follow(server) == ["cart ", "listed uid-cart"]
