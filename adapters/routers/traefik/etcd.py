"""Routes and pools for Traefik's etcd provider: each value is a key below its root key.

A write is one transaction: it compares the revision of every key of the service, and writes all of
them, or none. Traefik reads the whole tree at one revision, so nobody sees half a route.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import httpx

from adapters.errors import Retryable
from adapters.routers.traefik.document import route_path
from adapters.routers.traefik.names import apart_name, pool_name, pools_mark_name
from adapters.routers.traefik.pools import TOLD, told_in, told_path
from adapters.routers.traefik.store import Found, flatten
from adapters.secrets import Secret
from schemas.outside import cut

_KINDS: Final = ("routers", "services", "middlewares")
_HTTP_OK: Final = 200
_SAID_MOST: Final = 200
_CHANGES_MOST: Final = 100
"""In one transaction; etcd's own limit is 128 (`--max-txn-ops`)."""
_EXPIRED: Final = "invalid auth token"


class EtcdStore:
    """Routes in etcd, by the JSON gateway of its version 3 API.

    Args:
        endpoints: addresses of the members of one cluster; the first that answers is asked.
        client: for them; closed with the store.
        root_key: as Traefik has it (`providers.etcd.rootKey`).
        user: for etcd's own authentication.
        password: of the user.
        within: seconds that one answer may take.

    Raises:
        ValueError: no endpoint.
    """

    provider = "etcd"

    def __init__(  # noqa: PLR0913 - what reaches a cluster
        self,
        endpoints: Sequence[str],
        client: httpx.AsyncClient,
        *,
        root_key: str = "traefik",
        user: str | None = None,
        password: Secret | None = None,
        within: float = 1.0,
    ) -> None:
        if not endpoints:
            raise ValueError("endpoints: expected the address of at least one member of etcd")
        self._endpoints = [endpoint.rstrip("/") for endpoint in endpoints]
        self._client = client
        self._root = f"{root_key}/"
        self._user = user
        self._password = password
        self._within = within
        self._token = ""

    async def read(self, service: str) -> Found:
        """All keys of a service, as they were at one moment; `seen` is the revision of each."""
        ranges = [
            {"request_range": _range(f"{self._root}http/{kind}/{service}{end}")}
            for kind in _KINDS
            for end in "/."
        ]
        answer = await self._ask("kv/txn", {"success": ranges})
        pairs = list(self._pairs(answer))
        entries = {name: value for name, value, _ in pairs}
        seen = {name: revision for name, _, revision in pairs}
        return Found(entries, entries, seen)

    async def write(
        self,
        service: str,  # noqa: ARG002 - the port's; the paths of the document have it
        document: Mapping[str, Any],
        over: Found,
    ) -> bool:
        """Write all keys of a service, if each is as it was read (see the protocol)."""
        wanted = flatten(document)
        seen: Mapping[str, str] = over.seen if isinstance(over.seen, dict) else {}
        compared = [self._as_seen(name, seen.get(name)) for name in {**seen, **wanted}]
        changes = [self._put(name, value) for name, value in wanted.items()] + [
            {"request_delete_range": self._key(name)} for name in seen if name not in wanted
        ]
        answer = await self._ask("kv/txn", {"compare": compared, "success": changes})
        return bool(answer.get("succeeded"))

    def who(self, service: str) -> str:  # noqa: ARG002 - the port's
        """Nobody is known: etcd does not keep who wrote."""
        return ""

    async def read_pools(self, service: str) -> Found:
        """All keys of its pools, whoever wrote them, at one moment; `seen`: what was told, when."""
        ranges = [
            {"request_range": _range(f"{self._root}http/{kind}/{service}_")} for kind in _KINDS
        ]
        answer = await self._ask("kv/txn", {"success": ranges})
        pairs = list(self._pairs(answer))
        told = told_path(service)
        seen = next((revision for name, _, revision in pairs if name == told), None)
        return Found({name: value for name, value, _ in pairs}, None, seen)

    async def write_pools(
        self, service: str, document: Mapping[str, Any], over: Found, beside: Found | None = None
    ) -> bool:
        """Write what has changed of the pools that it was told of (see the protocol).

        etcd takes some hundred changes in one transaction: what was told goes first, which is the
        fence, and every later transaction compares it. An attempt that dies between two is made
        good by the same order again.
        """
        wanted, told = flatten(document), told_path(service)
        ours = {*told_in(over.entries, service), *told_in(wanted, service)}
        changes = [
            self._put(name, value)
            for name, value in wanted.items()
            if name != told and over.entries.get(name) != value
        ] + [
            {"request_delete_range": self._key(name)}
            for name in over.entries
            if name not in wanted and _is_of(name, service, ours)
        ]
        compared = [self._as_seen(told, over.seen)]
        compared += [
            self._as_seen(name, revision) for name, revision in _route_seen(service, beside).items()
        ]
        fence = [] if over.entries.get(told) == wanted[told] else [self._put(told, wanted[told])]
        changes = fence + changes
        for start in range(0, len(changes), _CHANGES_MOST):
            parts = changes[start : start + _CHANGES_MOST]
            answer = await self._ask("kv/txn", {"compare": compared, "success": parts})
            if not answer.get("succeeded"):
                return False
            if fence and not start:
                compared = [self._as_seen(told, answer["header"]["revision"])]
        return True

    async def pooled(self) -> Sequence[str]:
        """Those that have the middleware."""
        ranges = [{"request_range": _range(f"{self._root}http/middlewares/")}]
        pairs = self._pairs(await self._ask("kv/txn", {"success": ranges}))
        names = {name.split("/")[2] for name, _, _ in pairs if name.endswith(f"/{TOLD}")}
        return sorted(name.removesuffix(pools_mark_name("")) for name in names)

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    def _pairs(self, answer: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Name, value and revision of each key in the answer to a transaction of ranges."""
        for response in answer.get("responses", []):
            for pair in response.get("response_range", {}).get("kvs", []):
                name = _plain(pair["key"]).removeprefix(self._root)
                yield name, _plain(pair.get("value", "")), pair["mod_revision"]

    def _as_seen(self, name: str, revision: object) -> dict[str, Any]:
        """That a key is as it was read; with None: that it is not there."""
        if revision is None:
            return {**self._key(name), "target": "CREATE", "create_revision": "0"}
        return {**self._key(name), "target": "MOD", "mod_revision": revision}

    def _put(self, name: str, value: str) -> dict[str, Any]:
        return {"request_put": {**self._key(name), "value": _coded(value)}}

    def _key(self, name: str) -> dict[str, str]:
        return {"key": _coded(f"{self._root}{name}")}

    async def _ask(self, path: str, question: Mapping[str, Any]) -> dict[str, Any]:
        """The answer of the first member that gives one."""
        problem = Retryable("etcd: no member answers")
        for endpoint in self._endpoints:
            try:
                return await self._ask_one(endpoint, path, question)
            except Retryable as error:
                problem = error
        raise problem

    async def _ask_one(
        self, endpoint: str, path: str, question: Mapping[str, Any]
    ) -> dict[str, Any]:
        if self._user is not None and not self._token:
            self._token = await self._authenticate(endpoint)
        answer = await self._post(endpoint, path, question)
        if _EXPIRED in answer.text and self._user is not None:
            self._token = await self._authenticate(endpoint)
            answer = await self._post(endpoint, path, question)
        if answer.status_code == _HTTP_OK:
            return _object(endpoint, answer)
        # A right that is missing can be given, and a rollback waits for it.
        text = f"etcd at {endpoint}: {path} answered {answer.status_code}: {_why(answer)}"
        raise Retryable(text)

    async def _authenticate(self, endpoint: str) -> str:
        password = self._password.read() if self._password else ""
        pair = {"name": self._user, "password": password}
        self._token = ""
        answer = await self._post(endpoint, "auth/authenticate", pair)
        if answer.status_code != _HTTP_OK:
            # Its text names the user at most, but a proxy's might repeat more.
            raise Retryable(f"etcd at {endpoint}: refused the user: {answer.status_code}")
        return str(_object(endpoint, answer).get("token", ""))

    async def _post(self, endpoint: str, path: str, question: Mapping[str, Any]) -> httpx.Response:
        headers = {"authorization": self._token} if self._token else {}
        url = f"{endpoint}/v3/{path}"
        try:
            return await self._client.post(
                url, json=question, headers=headers, timeout=self._within
            )
        except httpx.HTTPError as error:
            raise Retryable(f"etcd at {endpoint}: {type(error).__name__}") from None


def _is_of(name: str, service: str, versions: Iterable[str]) -> bool:
    """Whether a key is one of the pools of these versions."""
    pools = {one for v in versions for one in (pool_name(service, v), apart_name(service, v))}
    return name.split("/")[2] in pools


def _route_seen(service: str, route: Found | None) -> Mapping[str, object]:
    """Keys of a route, and when each was written; None: it was not there."""
    if route is None:
        return {}
    seen = route.seen if isinstance(route.seen, dict) else {}
    return seen or {route_path(service): None}


def _range(prefix: str) -> dict[str, str]:
    end = prefix[:-1] + chr(ord(prefix[-1]) + 1)
    return {"key": _coded(prefix), "range_end": _coded(end)}


def _coded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _plain(text: str) -> str:
    try:
        return base64.b64decode(text, validate=True).decode(errors="replace")
    except binascii.Error:
        raise Retryable("etcd: expected base64 in its answer") from None


def _object(endpoint: str, answer: httpx.Response) -> dict[str, Any]:
    try:
        found = answer.json()
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Retryable(f"etcd at {endpoint}: answered no JSON object")
    return found


def _why(answer: httpx.Response) -> str:
    try:
        found = answer.json()
    except ValueError:
        return "no JSON"
    text = found.get("error") if isinstance(found, dict) else None
    return cut(text, _SAID_MOST) if isinstance(text, str) else "no reason"
