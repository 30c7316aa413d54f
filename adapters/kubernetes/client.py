"""Requests to an API server: bounded in size and time, and with errors of ours.

Objects are what the API has, as dicts: a field that nobody here knows is kept. Nothing is cached:
who waits for a change watches, and then reads.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import httpx

from adapters.errors import Retryable
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.credentials import Cluster, Credentials
from adapters.kubernetes.errors import TOO_MANY, Busy, Missing, Unauthorized, error_of
from adapters.kubernetes.resources import PODS, Json, Resource
from schemas.outside import cut, hide_user, one_line

MANAGER: Final = "aviary"
"""Our name among the managers of fields."""
MERGE: Final = "application/merge-patch+json"
JSON_PATCH: Final = "application/json-patch+json"
APPLY: Final = "application/apply-patch+yaml"

_MOST_BYTES: Final = 64 << 20
_MOST_LINE: Final = 8 << 20
_PAGE: Final = 500
_MOST_ITEMS: Final = 50_000
_CONNECT_S: Final = 10.0
_WATCH_S: Final = 300
_SILENCE_S: Final = 30.0
"""Beyond its time, what a watch may be silent for before it counts as cut."""
_PAUSE_S: Final = 1.0
_TEXT_MOST: Final = 500


class KubernetesClient:
    """One cluster, as one connection of the settings reaches it.

    Args:
        connection: of the settings.
        manager: our name among the managers of fields.
        sleep: waits so many seconds.
        clock: seconds that only grow.
        now: the time of day.
    """

    def __init__(
        self,
        connection: KubernetesConnection,
        *,
        manager: str = MANAGER,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Callable[[], float] = time.monotonic,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self.manager = manager
        self._connection = connection
        self._credentials = Credentials(connection, now)
        self._sleep, self._clock = sleep, clock
        self._slots = asyncio.Semaphore(connection.at_once)
        self._open: list[tuple[Cluster, httpx.AsyncClient]] = []

    async def namespace(self) -> str:
        """The namespace of the connection: its own, the context's, or the pod's."""
        return (await self._credentials.cluster()).namespace

    async def get(
        self, resource: Resource, name: str, namespace: str | None = None, part: str = ""
    ) -> Json | None:
        """An object; None where there is none.

        Raises:
            UnknownKind: the server has no such kind.
            Retryable: it could not be asked.
        """
        try:
            return await self._json("GET", resource, namespace, name, part)
        except Missing:
            return None

    async def list_all(
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        labels: str = "",
        fields: str = "",
    ) -> tuple[list[Json], str]:
        """All objects that match, and the resourceVersion to watch from.

        Args:
            resource: their kind.
            namespace: of theirs; None: of all.
            labels: a selector, such as `aviary.dev/service=checkout`.
            fields: a selector of fields, likewise.

        Raises:
            Retryable: it could not be asked, or there are more than 50,000.
        """
        found: list[Json] = []
        asked: dict[str, Any] = {"limit": _PAGE} | _selectors(labels, fields)
        while True:
            page = await self._json("GET", resource, namespace, asked=asked)
            items, about = page.get("items"), page.get("metadata") or {}
            kind = {"apiVersion": resource.api, "kind": resource.kind}
            found += [kind | one for one in (items if isinstance(items, list) else ())]
            if len(found) > _MOST_ITEMS:
                raise Retryable(f"{resource}: more than {_MOST_ITEMS:,}, expected fewer")
            asked["continue"] = about.get("continue")
            if not asked["continue"]:
                return found, str(about.get("resourceVersion") or "")

    async def create(
        self, resource: Resource, body: Json, namespace: str | None = None, part: str = ""
    ) -> Json:
        """Make an object; or a part of one, such as `binding` or `token`.

        Raises:
            Conflicted: there is one of that name (`exists`).
            Refused, Denied: the server, or a webhook, does not want it so.
            Retryable: it could not be asked.
        """
        asked = {"fieldManager": self.manager}
        name = str(body["metadata"]["name"]) if part else ""
        return await self._json("POST", resource, namespace, name, part, body=body, asked=asked)

    async def apply(  # noqa: PLR0913 - as the API has it
        self,
        resource: Resource,
        body: Json,
        namespace: str | None = None,
        *,
        force: bool = False,
        part: str = "",
        dry_run: bool = False,
    ) -> Json:
        """Have the fields of the body so, as ours: server-side apply.

        A `resourceVersion` in the body's metadata is what the object must have.

        Args:
            resource: its kind.
            body: what is to be so; of what we applied before, what is left out goes.
            namespace: of the object.
            force: take fields over that somebody else has set.
            part: of the object, such as `status`.
            dry_run: only ask whether it could be.

        Raises:
            Conflicted: somebody else owns a field, and names it, or has written meanwhile.
            Refused, Denied: the server, or a webhook, does not want it so.
            Retryable: it could not be asked.
        """
        asked = {"fieldManager": self.manager, "force": "true" if force else "false"}
        asked |= {"dryRun": "All"} if dry_run else {}
        whole = {"apiVersion": resource.api, "kind": resource.kind} | body
        name = str(body["metadata"]["name"])
        return await self._json(
            "PATCH", resource, namespace, name, part, body=whole, asked=asked, content=APPLY
        )

    async def replace(
        self, resource: Resource, body: Json, namespace: str | None = None, part: str = ""
    ) -> Json:
        """Write a whole object over the one of its `resourceVersion`.

        Raises:
            Conflicted: somebody has written meanwhile.
            Refused, Denied: the server, or a webhook, does not want it so.
            Missing: it is gone.
            Retryable: it could not be asked.
        """
        name = str(body["metadata"]["name"])
        asked = {"fieldManager": self.manager}
        return await self._json("PUT", resource, namespace, name, part, body=body, asked=asked)

    async def patch(  # noqa: PLR0913 - as the API has it
        self,
        resource: Resource,
        name: str,
        body: Json | list[Json],
        namespace: str | None = None,
        part: str = "",
        *,
        dry_run: bool = False,
    ) -> Json:
        """Change an object: a mapping is merged (RFC 7386), a list is a JSON patch (RFC 6902).

        Args:
            resource: its kind.
            name: of it.
            body: the change; a `resourceVersion` in its metadata is what the object must have.
            namespace: of it.
            part: of the object, such as `status`.
            dry_run: only ask whether it could be.

        Raises:
            Conflicted: the `resourceVersion` in the body is not the object's.
            Refused: a `test` of a JSON patch failed, or the server does not want it so.
            Missing: it is gone.
            Retryable: it could not be asked.
        """
        content = JSON_PATCH if isinstance(body, list) else MERGE
        asked = {"fieldManager": self.manager} | ({"dryRun": "All"} if dry_run else {})
        return await self._json(
            "PATCH", resource, namespace, name, part, body=body, asked=asked, content=content
        )

    async def delete(  # noqa: PLR0913 - as the API has it
        self,
        resource: Resource,
        name: str,
        namespace: str | None = None,
        *,
        uid: str | None = None,
        version: str | None = None,
        foreground: bool = False,
        grace_s: int | None = None,
    ) -> bool:
        """Delete an object, and what it owns; returns whether there was one.

        Args:
            resource: its kind.
            name: of it.
            namespace: of it.
            uid: the object's, so that one that has taken its place stays.
            version: the `resourceVersion` that it must have.
            foreground: what it owns goes first.
            grace_s: seconds for a pod to end; its own where None.

        Raises:
            Conflicted: it is another one, or was written meanwhile.
            Retryable: it could not be asked.
        """
        wanted = {"uid": uid, "resourceVersion": version}
        body: Json = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            "propagationPolicy": "Foreground" if foreground else "Background",
            "preconditions": {field: value for field, value in wanted.items() if value is not None},
        }
        if grace_s is not None:
            body["gracePeriodSeconds"] = grace_s
        try:
            await self._json("DELETE", resource, namespace, name, body=body)
        except Missing:
            return False
        return True

    async def watch(  # noqa: PLR0913 - as the API has it
        self,
        resource: Resource,
        namespace: str | None = None,
        *,
        since: str,
        labels: str = "",
        fields: str = "",
        bookmarks: bool = False,
    ) -> AsyncIterator[tuple[str, Json]]:
        """What changes, as the type (ADDED, MODIFIED, DELETED) and the object.

        Ends after some minutes, or as the connection is cut: list again, and watch from there; or
        watch again from the `resourceVersion` of what came last.

        Args:
            resource: their kind.
            namespace: of theirs; None: of all.
            since: the resourceVersion of a list.
            labels: a selector, as of `list_all`.
            fields: likewise.
            bookmarks: give BOOKMARK as well, with an object that has only a `resourceVersion`.

        Raises:
            Expired: too much has happened since: list again.
            Retryable: it could not be asked, or the connection was cut.
        """
        asked = {"watch": "true", "resourceVersion": since, "timeoutSeconds": _WATCH_S}
        asked |= _selectors(labels, fields) | {"allowWatchBookmarks": "true" if bookmarks else ""}
        what = f"watch {resource}"
        request = _Request("GET", resource.path(namespace), what, asked=asked)
        async with self._answer(request, _WATCH_S + _SILENCE_S) as answer:
            async for line in _lines(answer, what):
                kind, changed = str(line.get("type")), line.get("object")
                if kind == "ERROR":
                    status = changed.get("code") if isinstance(changed, dict) else None
                    raise error_of(what, status if type(status) is int else 500, {}, changed)
                if (bookmarks or kind != "BOOKMARK") and isinstance(changed, dict):
                    yield kind, changed

    async def logs(  # noqa: PLR0913 - as the API has it
        self,
        pod: str,
        namespace: str,
        container: str,
        *,
        lines: int,
        previous: bool = False,
        most: int = 16_384,
    ) -> str:
        """The last lines that a container has written.

        Args:
            pod: whose.
            namespace: of the pod.
            container: of the pod.
            lines: how many.
            previous: of its run before this one.
            most: bytes.

        Raises:
            Missing, Refused: there are none.
            Retryable: they could not be had.
        """
        asked = {"container": container, "tailLines": lines, "limitBytes": most}
        asked |= {"previous": "true"} if previous else {}
        path, what = PODS.path(namespace, pod, "log"), f"log of {namespace}/{pod}"
        body = await self._ask(_Request("GET", path, what, asked=asked), most * 2)
        return body.decode("utf-8", "replace")

    async def raw(self, path: str) -> Any:
        """What the server answers to a GET of any path, such as `/version`, as JSON.

        Raises:
            Missing, UnknownKind, Refused: there is no such path.
            Retryable: it could not be asked.
        """
        return _parsed(await self._ask(_Request("GET", path, f"GET {path}")), path)

    async def aclose(self) -> None:
        """Close its connections."""
        for _, client in self._open:
            await client.aclose()
        self._open.clear()

    async def _json(  # noqa: PLR0913 - of one request
        self,
        method: str,
        resource: Resource,
        namespace: str | None = None,
        name: str = "",
        part: str = "",
        *,
        body: Any = None,
        asked: Mapping[str, Any] | None = None,
        content: str = "application/json",
    ) -> Json:
        path = resource.path(namespace, name, part)
        whom = "/".join(word for word in (namespace if resource.namespaced else "", name) if word)
        what = " ".join(word for word in (method, str(resource), whom, part) if word)
        request = _Request(method, path, what, body, asked or {}, content)
        found = _parsed(await self._ask(request), what)
        if not isinstance(found, dict):
            raise Retryable(f"{what}: expected an object as JSON")
        return found

    async def _ask(self, request: _Request, most: int = _MOST_BYTES) -> bytes:
        """The body of a good answer; asked again where the server wants that, within the time."""
        longest, what = self._connection.timeout_s, request.what
        until, is_new = self._clock() + longest, False
        while True:
            try:
                async with (
                    asyncio.timeout(max(until - self._clock(), 0.001)),
                    self._slots,
                    self._answer(request, longest) as answer,
                ):
                    return await _bounded(answer, most, what)
            except TimeoutError:
                raise Retryable(f"{what}: no answer within {longest:g} s") from None
            except Busy as busy:
                pause = _PAUSE_S if busy.after_s is None else busy.after_s
                if busy.status != TOO_MANY or self._clock() + pause >= until:
                    raise
                await self._sleep(pause)
            except Unauthorized:
                if is_new:
                    raise
                is_new = True  # our credentials may have rotated since they were read
                (await self._credentials.cluster()).forget()

    @asynccontextmanager
    async def _answer(self, request: _Request, silence_s: float) -> AsyncIterator[httpx.Response]:
        """A good answer, its body not yet read.

        Raises:
            Retryable, Terminal: there is none; all of httpx's own errors are among them.
        """
        cluster = await self._credentials.cluster()
        token = await asyncio.to_thread(cluster.bearer)
        client = await self._client(cluster)
        try:
            wire = request.wire(client, cluster.server, token)
            wire.extensions["timeout"] = httpx.Timeout(silence_s, connect=_CONNECT_S).as_dict()
            answer = await client.send(wire, stream=True, follow_redirects=False)
            try:
                if not answer.is_success:
                    said = _json_or_none(await _bounded(answer, _MOST_LINE, request.what))
                    status, headers = answer.status_code, answer.headers
                    raise error_of(request.what, status, headers, said, request.path)
                yield answer
            finally:
                await answer.aclose()
        except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, OSError) as error:
            why = cut(one_line(hide_user(str(error))) or "no answer", _TEXT_MOST)
            text = f"{request.what}: {cluster.server}: {type(error).__name__}: {why}"
            raise Retryable(text) from None

    async def _client(self, cluster: Cluster) -> httpx.AsyncClient:
        """The client of a cluster; the one before it stays open for what is under way."""
        if not self._open or self._open[-1][0] is not cluster:
            self._open.append((cluster, _client_of(cluster, self._connection.at_once)))
            for _, old in self._open[:-2]:
                await old.aclose()
            del self._open[:-2]
        return self._open[-1][1]


@dataclass(frozen=True)
class _Request:
    method: str
    path: str
    what: str
    """In words, for errors."""
    body: Any = None
    asked: Mapping[str, Any] = field(default_factory=dict)
    content: str = "application/json"

    def wire(self, client: httpx.AsyncClient, server: str, token: str) -> httpx.Request:
        headers = {"accept": "application/json", "user-agent": "aviary"}
        headers |= {"content-type": self.content} if self.body is not None else {}
        headers |= {"authorization": f"Bearer {token}"} if token else {}
        return client.build_request(
            self.method,
            server + self.path,
            params={name: value for name, value in self.asked.items() if value},
            content=None if self.body is None else json.dumps(self.body).encode(),
            headers=headers,
        )


def _client_of(cluster: Cluster, at_once: int) -> httpx.AsyncClient:
    verify: Any = cluster.tls if cluster.tls is not None else False
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=at_once * 2)
    return httpx.AsyncClient(verify=verify, limits=limits, trust_env=False)


def _selectors(labels: str, fields: str) -> dict[str, str]:
    return {"labelSelector": labels, "fieldSelector": fields}


async def _bounded(answer: httpx.Response, most: int, what: str) -> bytes:
    body = bytearray()
    async for part in answer.aiter_bytes():
        body += part
        if len(body) > most:
            raise Retryable(f"{what}: more than {most:,} bytes, expected fewer")
    return bytes(body)


async def _lines(answer: httpx.Response, what: str) -> AsyncIterator[Json]:
    """The events of a watch, one in a line."""
    rest = bytearray()
    async for part in answer.aiter_bytes():
        rest += part
        *lines, last = bytes(rest).split(b"\n")
        rest = bytearray(last)
        if len(rest) > _MOST_LINE:
            raise Retryable(f"{what}: more than {_MOST_LINE:,} bytes in a line, expected fewer")
        for line in lines:
            if line.strip():
                found = _parsed(line, what)
                yield found if isinstance(found, dict) else {}


def _parsed(body: bytes, what: str) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Retryable(f"{what}: an answer that is no JSON") from None


def _json_or_none(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None
