"""What a data plane does with HTTPRoutes and VirtualServices, in memory: request by request."""

from __future__ import annotations

import random
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adapters.kubernetes.resources import Json
from adapters.routers.gateway_api.form import HTTP_ROUTES, GatewayForm
from adapters.routers.istio.form import VIRTUAL_SERVICES, IstioForm
from adapters.routers.kubernetes.backends import SERVICE_LABEL, VERSION_MARK, ServiceVersions
from adapters.routers.kubernetes.form import Form
from adapters.routers.kubernetes.names import APART, TEMPLATE, Backends
from adapters.routers.kubernetes.router import ObjectRouter, Pace
from schemas.capabilities import Capabilities
from schemas.route import AudienceBy
from tests.contract.routers.fake_cluster import FakeCluster
from tests.contract.routers.names import new_name

PARENT = {"name": "edge"}


class FakeMesh:
    """A cluster, and proxies that obey at once.

    Args:
        kind: `HTTPRoute` or `VirtualService`.
        can: of the router.
    """

    def __init__(self, kind: str, can: Capabilities) -> None:
        self.cluster = FakeCluster()
        self.counts: Counter[str] = Counter()
        self.copies: Counter[str] = Counter()
        self._random = random.Random(1)
        self.resource = HTTP_ROUTES if kind == "HTTPRoute" else VIRTUAL_SERVICES
        self.form: Form
        if kind == "HTTPRoute":
            self.form = GatewayForm(
                ("{service}",), (), "{service}", TEMPLATE, apart=True, is_forced=True
            )
        else:
            self.form = IstioForm(
                ("{service}",), "{service}", TEMPLATE, apart=True, subsets=False, is_forced=True
            )
        self.router = ObjectRouter(
            self.cluster,
            self.form,
            versions=ServiceVersions(self.cluster, self.backends),
            can=can,
            pace=Pace(confirm_within=20.0, poll_every=0.0),
            sleep=self._sleep,
        )

    def backends(self, service: str) -> Backends:
        return Backends(service, service, TEMPLATE, apart=True)

    def put_up(self, *versions: str, length: int = 0) -> str:
        """A service in these versions, and what a team has for it."""
        service = new_name(length)
        for version in versions:
            for name in (
                self.backends(service).of(version),
                self.backends(service).apart_of(version),
            ):
                own = {} if name.endswith(APART) else {VERSION_MARK: version}
                labels = {SERVICE_LABEL: service}
                self.cluster.put_service(name, annotations=own, labels=labels)
        if self.resource is HTTP_ROUTES:
            backend = {"group": "", "kind": "Service", "name": service, "port": 80, "weight": 1}
            rule: Json = {"matches": [{"path": {"type": "PathPrefix", "value": "/"}}]}
            rule["backendRefs"] = [backend]
            spec: Json = {"parentRefs": [PARENT], "rules": [rule]}
        else:
            spec = {"hosts": [service], "http": [{"route": [{"destination": {"host": service}}]}]}
        self.cluster.put(self.resource, service, spec=spec)
        return service

    def change(self, service: str, weight: float) -> None:
        """Give the canary another weight, as somebody does with an editor."""
        spec = self.cluster.objects[self.resource.plural, service]["spec"]
        name = "rules" if "rules" in spec else "http"
        refs = "backendRefs" if "rules" in spec else "route"
        rules = [
            rule
            if rule.get("name") or len(rule[refs]) == 1
            else {
                **rule,
                refs: [
                    {**ref, "weight": part}
                    for ref, part in zip(
                        rule[refs], (round((100 - weight) * 100), round(weight * 100)), strict=True
                    )
                ],
            }
            for rule in spec[name]
        ]
        self.cluster.put(self.resource, service, "kubectl-edit", spec={**spec, name: rules})

    def send(self, service: str, asks: Mapping[tuple[AudienceBy, str], str]) -> str:
        """One request; returns the version that answers it."""
        headers = {name.lower(): value for (by, name), value in asks.items() if by == "header"}
        cookies = [f"{name}={value}" for (by, name), value in asks.items() if by == "cookie"]
        if cookies:
            headers["cookie"] = "; ".join(["a=b", *cookies])
        rule = self._rule(service, headers)
        for name, share in _mirrors(rule):
            if self._random.random() * 100 < share:
                self.copies[name] += 1
        refs = rule.get("backendRefs") or rule["route"]
        (ref,) = self._random.choices(refs, [one["weight"] for one in refs])
        self.counts[_name(ref)] += 1
        return self._version(service, _name(ref).removesuffix(APART))

    async def requests(self, service: str) -> Mapping[str, int]:
        await self.router.read(service)
        known = await self.router.instances(service) or {}
        return {version: self.counts[self.backends(service).of(version)] for version in known}

    def copied(self, service: str) -> Mapping[str, int]:
        names = self._versions(service)
        return {
            version: self.copies[f"{name}{APART}"]
            for name, version in names.items()
            if self.copies[f"{name}{APART}"]
        }

    def _rule(self, service: str, headers: Mapping[str, str]) -> Json:
        spec = self.cluster.objects[self.resource.plural, service]["spec"]
        if "rules" in spec:
            fits = [
                (len(match.get("headers", ())), rule)
                for rule in spec["rules"]
                for match in rule["matches"]
                if _fits_all(match.get("headers", ()), headers)
            ]
            most = max(count for count, _ in fits)
            return next(rule for count, rule in fits if count == most)
        return next(
            rule
            for rule in spec["http"]
            if any(_fits_each(match, headers) for match in rule.get("match") or [{}])
        )

    def _versions(self, service: str) -> dict[str, str]:
        return {
            name: one["metadata"]["annotations"][VERSION_MARK]
            for (plural, name), one in self.cluster.objects.items()
            if plural == "services"
            and one["metadata"]["labels"] == {SERVICE_LABEL: service}
            and not name.endswith(APART)
        }

    def _version(self, service: str, name: str) -> str:
        return self._versions(service)[name]

    async def _sleep(self, _: float) -> None:
        """What a controller does: it says that it has taken each route up."""
        for (plural, name), found in list(self.cluster.objects.items()):
            if plural != HTTP_ROUTES.plural:
                continue
            generation = found["metadata"]["generation"]
            conditions = [
                {"type": kind, "status": "True", "observedGeneration": generation}
                for kind in ("Accepted", "ResolvedRefs")
            ]
            status = {"parents": [{"parentRef": PARENT, "conditions": conditions}]}
            if found.get("status") != status:
                self.cluster.put(HTTP_ROUTES, name, "controller", status=status)


def _name(ref: Mapping[str, Any]) -> str:
    return str(ref.get("name") or ref["destination"]["host"])


def _mirrors(rule: Json) -> Iterable[tuple[str, float]]:
    for one in rule.get("mirrors", ()):
        yield one["destination"]["host"], one["percentage"]["value"]
    for one in rule.get("filters", ()):
        mirror = one["requestMirror"]
        part = mirror.get("fraction", {"numerator": 1, "denominator": 1})
        yield mirror["backendRef"]["name"], 100 * part["numerator"] / part["denominator"]


def _fits_all(wanted: Sequence[Json], headers: Mapping[str, str]) -> bool:
    for one in wanted:
        value = headers.get(one["name"].lower())
        if value is None:
            return False
        is_exact = one["type"] == "Exact"
        if not (value == one["value"] if is_exact else re.search(one["value"], value)):
            return False
    return True


def _fits_each(match: Json, headers: Mapping[str, str]) -> bool:
    for name, how in match.get("headers", {}).items():
        value = headers.get(name)
        if value is None:
            return False
        if not (value == how["exact"] if "exact" in how else re.fullmatch(how["regex"], value)):
            return False
    return True
