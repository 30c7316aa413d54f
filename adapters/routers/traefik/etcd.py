"""Routes for Traefik's etcd provider: each value is a key below its root key.

A write is one transaction: it compares the revision of every key of the service, and writes all of
them, or none. Traefik reads the whole tree at one revision, so nobody sees half a route.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import httpx

from adapters.errors import Retryable
from adapters.routers.traefik.names import apart_name, pool_name
from adapters.routers.traefik.pools import Pool
from adapters.routers.traefik.store import Found, flatten
from adapters.secrets import Secret
from schemas.outside import cut

_KINDS: Final = ("routers", "services", "middlewares")
_HTTP_OK: Final = 200
_SAID_MOST: Final = 200
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
        compared = [
            {**self._key(name), "target": "MOD", "mod_revision": revision}
            for name, revision in seen.items()
        ] + [
            {**self._key(name), "target": "CREATE", "create_revision": "0"}
            for name in wanted
            if name not in seen
        ]
        changes = [self._put(name, value) for name, value in wanted.items()] + [
            {"request_delete_range": self._key(name)} for name in seen if name not in wanted
        ]
        answer = await self._ask("kv/txn", {"compare": compared, "success": changes})
        return bool(answer.get("succeeded"))

    def who(self, service: str) -> str:  # noqa: ARG002 - the port's
        """Nobody is known: etcd does not keep who wrote."""
        return ""

    async def put_pool(self, pool: Pool) -> None:
        """Add a pool, or give it other instances, in one transaction."""
        wanted = flatten(pool.document)
        old = await self._ask("kv/txn", {"success": self._pool_ranges(pool.service, pool.version)})
        gone = [name for name, _, _ in self._pairs(old) if name not in wanted]
        changes = [self._put(name, value) for name, value in wanted.items()]
        changes += [{"request_delete_range": self._key(name)} for name in gone]
        await self._ask("kv/txn", {"success": changes})

    async def drop_pool(self, service: str, version: str) -> None:
        """Remove a pool, if it is there; no route may name it any more."""
        gone = [
            {"request_delete_range": one["request_range"]}
            for one in self._pool_ranges(service, version)
        ]
        await self._ask("kv/txn", {"success": gone})

    async def aclose(self) -> None:
        """Close the client."""
        await self._client.aclose()

    def _pairs(self, answer: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
        """Name, value and revision of each key in the answer to a transaction of ranges."""
        for response in answer.get("responses", []):
            for pair in response.get("response_range", {}).get("kvs", []):
                name = _plain(pair["key"]).removeprefix(self._root)
                yield name, _plain(pair.get("value", "")), pair["mod_revision"]

    def _pool_ranges(self, service: str, version: str) -> list[dict[str, Any]]:
        names = (pool_name(service, version), apart_name(service, version))
        paths = [f"services/{name}/" for name in names] + [f"routers/{names[0]}/"]
        return [{"request_range": _range(f"{self._root}http/{path}")} for path in paths]

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
