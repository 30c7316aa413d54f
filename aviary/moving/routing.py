"""Traffic routing blocks: the router that stands for one, or what to do instead."""

from __future__ import annotations

from typing import Any, Final

from aviary.moving.drafts import RouterDraft
from aviary.moving.rows import Rows
from aviary.moving.source import Node

_GATEWAY: Final = "argoproj-labs/gatewayAPI"
_GATEWAY_API: Final = "router kind gateway_api where the gateway speaks Gateway API"
_OTHERWISE: Final = f"use {_GATEWAY_API}, or another kind that `aviary routers` lists"

INSTEAD: Final = {
    "nginx": "ingress-nginx is retired, and router kind nginx is NGINX with Aviary's own Lua "
    "module: "
    f"{_OTHERWISE}",
    "alb": "router kind alb writes rules that are tagged with their service (docs/how-to/alb.md); "
    "those of this Ingress its controller would write back: tag rules of your own",
    "traefik": "Aviary drives Traefik by its file provider or etcd (traefik-file, traefik-etcd) "
    "and "
    f"not by TraefikService: use one of these, or {_GATEWAY_API}",
    "smi": f"SMI is given up by its makers: {_OTHERWISE}",
    "appMesh": f"AWS ended App Mesh: {_OTHERWISE}",
    "appmesh": f"AWS ended App Mesh: {_OTHERWISE}",
    "ambassador": _OTHERWISE,
    "apisix": _OTHERWISE,
    "contour": f"Contour speaks Gateway API as well: {_OTHERWISE}",
    "gloo": f"Gloo speaks Gateway API as well: {_OTHERWISE}",
    "kuma": f"Kuma speaks Gateway API as well: {_OTHERWISE}",
    "linkerd": f"Linkerd takes HTTPRoutes: {_OTHERWISE}",
    "osm": f"Open Service Mesh is archived: {_OTHERWISE}",
    "knative": "Knative splits traffic among its own revisions: there is no router kind for it",
    "kubernetes": "Flagger moves no traffic by weight here: any router kind that `aviary routers` "
    "lists, with real weights",
    "skipper": _OTHERWISE,
}
_UNKNOWN: Final = f"not a router that Aviary has: {_OTHERWISE}"


def of_argo(canary: Node, namespace: str | None, rows: Rows) -> list[RouterDraft]:
    """The routers of a Rollout's canary strategy; none where nothing stands for one of them."""
    routing = canary.get("trafficRouting")
    stable = canary.get("stableService")
    apex = None if stable is None else stable.text()
    blocks = [] if routing is None else [one for one in routing.each() if one.name not in _BESIDE]
    plugins = [] if routing is None else _plugins(routing)
    blocks = [one for one in blocks if one.name != "plugins"] + plugins
    if not blocks:
        rows.differs(
            canary,
            "without trafficRouting weights are ratios of replicas there, rounded, and at least "
            "one Pod; here they are exact shares of the requests, which needs a router",
        )
    found = []
    for block in blocks:
        if block.name == "istio":
            found.append(_istio(block, namespace, apex, rows))
        elif block.name == _GATEWAY:
            found.append(_gateway(block, namespace, apex, rows))
        else:
            rows.none(block, INSTEAD.get(block.name, _UNKNOWN))
    if found and len(found) < len(blocks):
        names = ", ".join(one.name for one in blocks)
        rows.none(
            routing.place if routing is not None else canary.place,
            f"several at once ({names}), and not for each of them a router: choose one, or a "
            "list of "
            "them (docs/how-to/routers.md)",
        )
        return []
    return found


_BESIDE: Final = frozenset({"managedRoutes", "maxTrafficWeight"})


def _plugins(routing: Node) -> list[Node]:
    plugins = routing.get("plugins")
    return [] if plugins is None else plugins.each()


def _istio(block: Node, namespace: str | None, apex: str | None, rows: Rows) -> RouterDraft:
    options: dict[str, Any] = {} if namespace is None else {"namespace": namespace}
    one, several = block.get("virtualService"), block.get("virtualServices")
    found = [] if one is None else [one]
    found += [] if several is None else several.items()
    options["virtual_services"] = [node.need("name").text() for node in found]
    for node in found:
        for name in ("routes", "tlsRoutes", "tcpRoutes"):
            if (routes := node.get(name)) is not None:
                rows.none(
                    routes,
                    "Aviary writes every HTTP route of the VirtualService that names the service, "
                    "and no TCP or TLS route: take out of the VirtualService what must stay",
                )
    if apex is not None:
        options["service"] = apex
    if (rule := block.get("destinationRule")) is not None:
        for name in ("name", "canarySubsetName", "stableSubsetName"):
            rule.get(name)
        options["subsets"] = True
        rows.differs(
            rule,
            "subsets are named by version here (`{service}-{version}`), and not canary and stable: "
            "the DestinationRule needs one for each version that is up",
        )
    _told(block, "istio", rows)
    return RouterDraft("istio", options, block.place)


def _gateway(block: Node, namespace: str | None, apex: str | None, rows: Rows) -> RouterDraft:
    options: dict[str, Any] = {}
    given = block.get("namespace")
    if given is not None or namespace is not None:
        options["namespace"] = namespace if given is None else given.text()
    for single, several, option in (
        ("httpRoute", "httpRoutes", "http_routes"),
        ("grpcRoute", "grpcRoutes", "grpc_routes"),
    ):
        one, more = block.get(single), block.get(several)
        names = [] if one is None else [one.text()]
        names += [] if more is None else [node.need("name").text() for node in more.items()]
        if names or option == "http_routes":
            options[option] = names
    for name in ("tcpRoute", "tcpRoutes", "tlsRoute", "tlsRoutes"):
        if (routes := block.get(name)) is not None:
            rows.none(routes, "Aviary splits HTTPRoutes and GRPCRoutes alone")
    if apex is not None:
        options["service"] = apex
    _told(block, "gateway_api", rows)
    return RouterDraft("gateway_api", options, block.place)


def _told(block: Node, kind: str, rows: Rows) -> None:
    rows.differs(
        block,
        f"router kind {kind}: each version has a Service of its own here "
        f"(`{{service}}-{{version}}`), "
        "where there are one for stable and one for the canary",
    )


def of_flagger(spec: Node, apex: str, namespace: str | None, rows: Rows) -> list[RouterDraft]:
    """The router of a Canary; none where nothing stands for it."""
    provider = spec.get("provider")
    for name in ("ingressRef", "routeRef", "upstreamRef", "gatewayRef"):
        if (ref := spec.get(name)) is not None:
            rows.none(ref, "what a router kind is told instead stands in its options")
    if provider is None:
        rows.none(
            spec.place,
            "no provider: it is that of Flagger's own settings (-mesh-provider), which a manifest "
            "does not show; choose a router kind, by --router or in the catalog",
        )
        return []
    name = provider.text().partition(":")[0]
    options: dict[str, Any] = {} if namespace is None else {"namespace": namespace}
    owns = (
        "; Flagger wrote the route itself, and writes it back as long as the Canary is there and "
        "not "
        "suspended"
    )
    if name == "istio":
        rows.differs(provider, f"router kind istio{owns}")
        options |= {"virtual_services": [apex], "service": apex}
        return [RouterDraft("istio", options, provider.place)]
    if name == "gatewayapi":
        rows.differs(provider, f"router kind gateway_api{owns}")
        options |= {"http_routes": [apex], "service": apex}
        return [RouterDraft("gateway_api", options, provider.place)]
    rows.none(provider, INSTEAD.get(name, _UNKNOWN))
    return []
