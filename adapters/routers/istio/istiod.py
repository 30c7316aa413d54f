"""What istiod says of its proxies: which have been sent what, and what they have taken.

Its debug interface shows the routes that it makes for each proxy, and by its sync state whether the
proxy has acknowledged the last that it was sent. A proxy without a route of the VirtualService is
not asked for one.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import httpx

from adapters.errors import Retryable
from adapters.kubernetes.resources import Json
from schemas.route import Route

_WITHIN_S: Final = 2.0
_MOST_BYTES: Final = 64 << 20
_ROUTES: Final = "RoutesConfigDump"

Split = frozenset[tuple[str, int]]
"""Weights by the name of the Service or subset."""


class IstiodPlane:
    """Asks one istiod (see `adapters.routers.kubernetes.form.DataPlane`).

    Args:
        url: of its debug interface, such as `http://istiod.istio-system:15014`.
        client: closed by its owner.
    """

    def __init__(self, url: str, client: httpx.AsyncClient) -> None:
        self._url = url.rstrip("/")
        self._client = client

    async def lag(self, route: Route, objects: Sequence[Json]) -> str:
        """Which proxy does not serve a VirtualService yet; empty: all that have it, and one has."""
        del route
        unseen = [str(found["metadata"]["name"]) for found in objects]
        for proxy in await self._synced():
            name = str(proxy.get("proxy"))
            dump = await self._get("/debug/config_dump", {"proxyID": name}, absent=True)
            for found in objects:
                served = self._served(dump, found, name)
                if served and served != splits_wanted(found):
                    return f"istiod at {self._url}: proxy {name} has another route"
                if served and proxy.get("route_sent") != proxy.get("route_acked"):
                    return f"istiod at {self._url}: proxy {name} has not taken its routes yet"
                if served and found["metadata"]["name"] in unseen:
                    unseen.remove(found["metadata"]["name"])
        return f"istiod at {self._url}: no proxy has routes of {unseen[0]}" if unseen else ""

    async def aclose(self) -> None:
        """Nothing: the client is its owner's."""

    def _served(self, dump: Any, found: Json, proxy: str) -> Counter[Split]:
        try:
            return splits_served(dump, found)
        except (AttributeError, TypeError, ValueError):
            text = f"istiod at {self._url}: proxy {proxy}: routes of another form than known"
            raise Retryable(text) from None

    async def _synced(self) -> list[Mapping[str, Any]]:
        found = await self._get("/debug/syncz", {})
        if not isinstance(found, list):
            raise Retryable(f"istiod at {self._url}: expected a list of proxies")
        return [one for one in found if isinstance(one, dict) and one.get("route_sent")]

    async def _get(self, path: str, query: Mapping[str, str], *, absent: bool = False) -> Any:
        where = f"istiod at {self._url}"
        try:
            answer = await self._client.get(
                f"{self._url}{path}", params=query, timeout=_WITHIN_S, follow_redirects=False
            )
        except httpx.HTTPError as error:
            raise Retryable(f"{where}: {type(error).__name__}") from None
        if absent and answer.status_code == httpx.codes.NOT_FOUND:
            return {}  # the proxy has left since it was listed
        if answer.status_code != httpx.codes.OK or len(answer.content) > _MOST_BYTES:
            raise Retryable(f"{where}: {path} answered {answer.status_code}")
        try:
            return answer.json()
        except (ValueError, RecursionError):
            raise Retryable(f"{where}: {path} answered no JSON") from None


def splits_wanted(found: Json) -> Counter[Split]:
    """The splits of the HTTP routes that send anywhere, and how many matches have each."""
    spec, wanted = found["spec"], Counter[Split]()
    for rule in spec.get("http") or ():
        if not rule.get("route"):
            continue
        split = _scaled(
            (_named(one["destination"]), int(one.get("weight", 0))) for one in rule["route"]
        )
        wanted[split] += len(rule.get("match") or [{}])
    return wanted


def splits_served(dump: Any, found: Json) -> Counter[Split]:
    """The same, of what istiod makes of it for one proxy; empty: nothing."""
    about = found["metadata"]
    suffix = f"/namespaces/{about.get('namespace')}/virtual-service/{about['name']}"
    per_host: list[Counter[Split]] = []
    for host in _hosts(dump):
        served = Counter[Split]()
        for route in host.get("routes") or ():
            source = ((route.get("metadata") or {}).get("filterMetadata") or {}).get("istio") or {}
            if str(source.get("config", "")).endswith(suffix) and "route" in route:
                served[_of_action(route["route"])] += 1
        if served:
            per_host.append(served)
    # Each host has all of the routes; where two differ, one of them is behind.
    first = per_host[0] if per_host else Counter[Split]()
    return next((one for one in per_host if one != first), first)


def _hosts(dump: Any) -> Iterator[Mapping[str, Any]]:
    configs = dump.get("configs") if isinstance(dump, dict) else None
    for config in configs or ():
        if str(config.get("@type", "")).endswith(_ROUTES):
            for one in config.get("dynamicRouteConfigs") or ():
                yield from (one.get("routeConfig") or {}).get("virtualHosts") or ()


def _of_action(action: Mapping[str, Any]) -> Split:
    weighted = action.get("weightedClusters")
    if weighted is None:
        return _scaled([(_of_cluster(str(action.get("cluster", ""))), 1)])
    return _scaled(
        (_of_cluster(str(one.get("name"))), int(one.get("weight", 0)))
        for one in weighted.get("clusters") or ()
    )


def _of_cluster(cluster: str) -> str:
    """`outbound|80|v1|checkout.shop.svc.cluster.local` as a destination is named here."""
    _, _, subset, host = [*cluster.split("|"), "", "", ""][:4]
    return f"{host.partition('.')[0]}|{subset}"


def _named(destination: Mapping[str, Any]) -> str:
    host = str(destination.get("host", "")).partition(".")[0]
    return f"{host}|{destination.get('subset', '')}"


def _scaled(parts: Any) -> Split:
    """The parts in 10,000 of all; those of 0 are left out, as a proxy's are."""
    found = [(name, weight) for name, weight in parts]
    if len(found) == 1:
        return frozenset({(found[0][0], 10_000)})
    total = sum(weight for _, weight in found) or 1
    return frozenset((name, round(weight * 10_000 / total)) for name, weight in found if weight)
