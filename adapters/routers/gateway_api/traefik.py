"""Traefik as what implements a Gateway: its API shows the weights that it serves.

Its word that a route is accepted comes up to a second before the route is served, and it is given
of filters, too, that Traefik does not know and answers 500 for: RequestMirror is one.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import httpx

from adapters.errors import Retryable
from adapters.kubernetes.resources import Json
from schemas.outside import cut, visible
from schemas.route import Route

_WITHIN_S: Final = 2.0
_MOST_BYTES: Final = 64 << 20
_PROVIDER: Final = "@kubernetesgateway"
_ROUTE: Final = re.compile(r"(.+)-\d+-[0-9a-f]{20}")
_PREFIXES: Final = {"HTTPRoute": "httproute", "GRPCRoute": "grpcroute"}

Split = frozenset[tuple[str, int]]
"""The share of each Service in 10,000; those with none are left out."""


class TraefikPlane:
    """Asks one Traefik (see `adapters.routers.kubernetes.form.DataPlane`).

    Args:
        url: of its API, such as `http://127.0.0.1:8080`.
        client: closed by its owner.
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    async def lag(self, route: Route, objects: Sequence[Json]) -> str:
        """Why it does not serve the objects yet; empty: it does."""
        del route
        raw = await self._raw()
        for found in objects:
            served = splits_served(raw, found)
            if not served:
                return f"Traefik at {self._url} has no route {found['metadata']['name']}"
            wanted = splits_wanted(found)
            if any(one != wanted for one in served.values()):
                return f"Traefik at {self._url} serves another route"
        return ""

    async def aclose(self) -> None:
        """Nothing: the client is its owner's."""

    async def _raw(self) -> Mapping[str, Any]:
        where = f"Traefik at {self._url}"
        try:
            answer = await self._client.get(
                f"{self._url}/api/rawdata", timeout=_WITHIN_S, follow_redirects=False
            )
        except httpx.HTTPError as error:
            # The class is enough: the text of some errors repeats the whole address.
            raise Retryable(f"{where}: {type(error).__name__}") from None
        if answer.status_code != httpx.codes.OK or len(answer.content) > _MOST_BYTES:
            raise Retryable(f"{where}: /api/rawdata answered {answer.status_code}")
        try:
            found = answer.json()
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise Retryable(f"{where}: /api/rawdata answered no JSON object")
        return found


def splits_wanted(found: Json) -> Counter[Split]:
    """How many matches of an object's rules have each split; of rules that send anywhere."""
    wanted: Counter[Split] = Counter()
    for rule in found["spec"].get("rules") or ():
        if refs := rule.get("backendRefs"):
            split = _split((str(ref["name"]), int(ref.get("weight", 1))) for ref in refs)
            wanted[split] += len(rule.get("matches") or ({},))
    return wanted


def splits_served(raw: Mapping[str, Any], found: Json) -> Mapping[str, Counter[Split]]:
    """The same as Traefik has it, for each Gateway and entry point that it has it for.

    Args:
        raw: answer of its API, whoever wrote it.
        found: the object.
    """
    about = found["metadata"]
    namespace = _plain(str(about.get("namespace", "")))
    prefix = f"{_PREFIXES[found['kind']]}-{namespace}-{_plain(str(about['name']))}-gw-"
    served: dict[str, Counter[Split]] = defaultdict(Counter)
    for name, router in _items(raw.get("routers")):
        place = _ROUTE.fullmatch(name.removesuffix(_PROVIDER))
        if place is None or not name.endswith(_PROVIDER) or not name.startswith(prefix):
            continue
        service = _of(raw, f"{router.get('service')}{_PROVIDER}").get("weighted")
        parts = service.get("services") if isinstance(service, dict) else None
        sent = [one for one in parts or () if isinstance(one, dict)]
        served[place[1]][_split(_sent(sent, namespace))] += 1
    return served


def _sent(parts: Iterable[Mapping[str, Any]], namespace: str) -> Iterable[tuple[str, int]]:
    """Services and weights, of names such as `…-svc-shop-checkout-1-4-2-0`."""
    for one in parts:
        _, _, name = str(one.get("name")).rpartition(f"-svc-{namespace}-")
        weight = one.get("weight")
        yield visible(cut(name.rpartition("-")[0], 200)), weight if type(weight) is int else 1


def _items(found: Any) -> Iterable[tuple[str, Mapping[str, Any]]]:
    if isinstance(found, dict):
        yield from ((name, one) for name, one in found.items() if isinstance(one, dict))


def _of(raw: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    services = raw.get("services")
    found = services.get(name) if isinstance(services, dict) else None
    return found if isinstance(found, dict) else {}


def _plain(name: str) -> str:
    """As Traefik writes names in those of its own."""
    return "-".join(part for part in re.split(r"[^A-Za-z0-9]+", name) if part)


def _split(parts: Iterable[tuple[str, int]]) -> Split:
    found = [(name, weight) for name, weight in parts if weight]
    total = sum(weight for _, weight in found)
    return frozenset((name, round(10_000 * weight / total)) for name, weight in found)
