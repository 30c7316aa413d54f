"""A router in this process, for tests, trials and services without a real one."""

from __future__ import annotations

import hashlib
import re
from collections import Counter, defaultdict, deque
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from ipaddress import ip_address, ip_network
from itertools import count
from typing import Final

from adapters.errors import AdapterError
from adapters.ports import Leased, Routing
from adapters.routers.endpoint_fence import Order, check_order, check_unused, in_use
from adapters.routers.fence import check_able, check_generation, check_over, check_pools, known
from schemas.audience import MOST_MATCHES, Audience, AudienceBy, Condition, How
from schemas.capabilities import (
    AudienceTerms,
    Capabilities,
    Counting,
    Fence,
    StickyBy,
    TotalGrid,
)
from schemas.deployment import Endpoint, Endpoints
from schemas.lane import Lane
from schemas.route import Confirmation, Health, Route
from schemas.sticky import StickyChoice

FORCE: Final = {AudienceBy.HEADER: "x-canary", AudienceBy.COOKIE: "canary"}
"""The header and the cookie that ask for a version: `always` the canary, or `never`."""

_COMPARED: Final = tuple(
    by for by in AudienceBy if by not in {AudienceBy.METHOD, AudienceBy.NETWORK}
)

CAPABILITIES: Final = Capabilities(
    weights=TotalGrid(total=10_000),
    sticky=(StickyBy.HEADER,),
    sticky_choices=(StickyChoice.HEADER, StickyChoice.NOTHING),
    forced=(AudienceBy.HEADER, AudienceBy.COOKIE),
    audiences=tuple(AudienceBy),
    audience_terms=AudienceTerms(
        prefixes=_COMPARED,
        regexes=_COMPARED,
        negated=tuple(AudienceBy),
        all_of=True,
        kept=True,
        matches=MOST_MATCHES,
    ),
    apart=True,
    lanes=True,
    mirroring=True,
    mirror_reads=True,
    mirror_mark=True,
    counts=Counting.ROUTER,
    users=True,
    instances=True,
    registers=True,
    endpoints=True,
    leases=True,
    fence=Fence.LOCK,
)


@dataclass(frozen=True)
class Fault:
    """How one call of `apply` goes wrong, after the fence has let it through.

    Attributes:
        error: raised, or None for a router that says yes.
        effect: whether the traffic changes all the same. An error with effect is a lost answer;
            neither is a router that says yes and does nothing.
    """

    error: AdapterError | None
    effect: bool


Asks = Mapping[tuple[AudienceBy, str], str]
"""Of a request, by what it is and its name: headers, cookies, its path (of no name), and so on."""
NOTHING: Final[Asks] = {}


class MemoryRouter:
    """A `Router` that keeps its routes while it lives.

    `send` stands for a user's request: it picks a version as the split says and counts it.

    Args:
        capabilities: what it can do; it refuses the rest.
    """

    def __init__(self, capabilities: Capabilities = CAPABILITIES) -> None:
        self.capabilities = capabilities
        self._pools: dict[str, dict[str, int]] = defaultdict(dict)
        self._routes: dict[str, Route] = {}
        self._traffic: dict[str, Route] = {}
        self._drawn = count()
        self._faults: deque[Fault] = deque()
        self._down: set[tuple[str, str]] = set()
        self._told: dict[str, dict[str, Endpoints]] = defaultdict(dict)
        self._renewals: Counter[str] = Counter()
        self._users: dict[str, dict[str, Counter[str]]] = defaultdict(lambda: defaultdict(Counter))
        self._in_lane: Counter[str] = Counter()
        self.copies: dict[str, Counter[str]] = defaultdict(Counter)
        """Requests that were copied, by service and version."""

    @property
    def routing(self) -> Routing:
        """Itself, as activities get it."""
        return Routing.of(self, self.capabilities)

    def add_pool(self, service: str, version: str) -> None:
        """Let a version take traffic."""
        self._pools[service].setdefault(version, 0)

    def take_down(self, service: str, version: str, *, down: bool = True) -> None:
        """Have the one instance of a version die, or come back."""
        if down:
            self._down.add((service, version))
        else:
            self._down.discard((service, version))

    def inject(self, fault: Fault, times: int = 1) -> None:
        """Let the next calls of `apply` go wrong so; several faults come in order."""
        self._faults.extend([fault] * times)

    def send(self, service: str, user: str, asks: Asks = NOTHING) -> str:
        """Count one request of a user and return the version that answers it.

        A user keeps the version while the weight grows. Who asks for a version or is not of those
        whom the weight is for is not counted, and neither is a copy.

        Args:
            service: that is called.
            user: who calls.
            asks: what the request has.

        Raises:
            UnknownRoute: no such service.
        """
        route = known(self._traffic.get(service), service)
        if route.mirror is not None and _bucket(f"copy/{user}", 100) < route.mirror.share:
            self.copies[service][route.mirror.version] += 1
        if route.canary is None:
            version = route.stable
        elif (forced := self._forced(asks)) is not None:
            return route.canary if forced == "always" else route.stable
        else:
            key = self._key(route, user, asks)
            tier = next(one for one in route.tiers if _is_in(one.audience, asks))
            parts = self.capabilities.weights.nearest(tier.weight)
            by_hash = route.stable if _bucket(key, sum(parts)) < parts.stable else route.canary
            on_lane = _is_on(route.open_lane, asks)
            self._in_lane[service] += on_lane
            version = route.canary if on_lane else by_hash
            if not tier.counted:
                return version
        self._pools[service][version] += 1
        self._users[service][user][version] += 1
        return version

    def _key(self, route: Route, user: str, asks: Asks) -> str:
        """What decides of a request; another one each time where users do not stay."""
        sticky = route.sticky
        if sticky is None:
            return user
        name = sticky.user.header if sticky.user is not None else None
        said = asks.get((AudienceBy.HEADER, name)) if name is not None else None
        return said or f"request/{next(self._drawn)}"

    def _forced(self, asks: Asks) -> str | None:
        wishes = (asks.get((by, FORCE[by])) for by in self.capabilities.forced)
        return next((wish for wish in wishes if wish in {"always", "never"}), None)

    async def locate(self, service: str, version: str) -> str:
        """`payments/2.0.1`."""
        return f"{service}/{version}"

    async def exists(self, service: str, version: str) -> bool:
        """Whether a version was added."""
        return version in self._pools[service]

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Raises:
            UnknownRoute: `stable` has no pool.
        """
        if service not in self._routes:
            route = Route.split(service, stable)
            check_pools(route, self._pools[route.service])
            self._routes[service] = self._traffic[service] = route
        return self._routes[service]

    async def read(self, service: str) -> Route:
        """The route as applied last."""
        return known(self._routes.get(service), service)

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Take the route over at once (see the port)."""
        check_able(route, self.capabilities)
        applied = known(self._routes.get(route.service), route.service)
        check_generation(route, applied)
        check_over(route, applied, over)
        check_pools(route, self._pools[route.service])
        fault = self._faults.popleft() if self._faults else Fault(error=None, effect=True)
        if fault.error is None or fault.effect:
            self._routes[route.service] = route
        if fault.effect:
            self._traffic[route.service] = route
        if fault.error is not None:
            raise fault.error
        return Confirmation(route=route, mark=f"{route.service}/{route.generation}")

    def change(self, route: Route) -> None:
        """Change a route as somebody else does: without a write of Aviary's."""
        self._routes[route.service] = self._traffic[route.service] = route

    async def aclose(self) -> None:
        """It holds nothing."""

    async def renew(self, service: str) -> None:
        """Leave a sign of life (see the port)."""
        self._renewals[service] += 1

    async def leased(self, services: Collection[str]) -> Mapping[str, Leased]:
        """The routes that have a lease (see the port)."""
        return {
            service: Leased(route, str(self._renewals[service] or ""))
            for service, route in self._routes.items()
            if service in services and route.lease is not None
        }

    async def put_endpoints(
        self, service: str, version: str, endpoints: Sequence[Endpoint], generation: int
    ) -> None:
        """Make these the instances of a version (see the port)."""
        order = Order.of(service, version, endpoints, generation)
        if (told := check_order(order, self._told[service])) is not None:
            self._told[service][version] = told
        self.add_pool(service, version)

    async def drop_endpoints(self, service: str, version: str, generation: int) -> None:
        """Forget a version (see the port)."""
        order = Order(service, version, (), generation)
        told = check_order(order, self._told[service])
        check_unused(order, self._routes.get(service))
        if told is not None:
            self._told[service][version] = told
        self._pools[service].pop(version, None)

    async def endpoints(self, service: str | None = None) -> Mapping[str, Mapping[str, Endpoints]]:
        """What it was told (see the port)."""
        services = self._told if service is None else [service]
        found = {name: in_use(self._told.get(name, {})) for name in services}
        return {name: versions for name, versions in found.items() if versions}

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """Those that it was told, or else one, of each version that has a pool."""
        return {
            version: Health(known=known, healthy=0 if (service, version) in self._down else known)
            for version in self._pools[service]
            if (known := self._known(service, version))
        }

    def _known(self, service: str, version: str) -> int:
        told = self._told[service].get(version)
        return len(told.endpoints) if told is not None and told.endpoints else 1

    async def requests_by_user(self, service: str) -> Mapping[str, Mapping[str, int]]:
        """Requests that `requests` counts, by user and version."""
        return {user: dict(counts) for user, counts in self._users[service].items()}

    async def requests_in_lane(self, service: str) -> int:
        """Requests that `send` was given with the lane."""
        return self._in_lane[service]

    async def requests(self, service: str) -> Mapping[str, int]:
        """Requests that `send` has counted per version."""
        known(self._routes.get(service), service)
        return dict(self._pools[service])


def _bucket(user: str, total: int) -> int:
    return int.from_bytes(hashlib.sha256(user.encode()).digest()[:8], "big") % total


def _is_on(lane: Lane | None, asks: Asks) -> bool:
    return lane is not None and lane.is_in(asks.get((AudienceBy.HEADER, lane.header), ""))


def _is_in(audience: Audience | None, asks: Asks) -> bool:
    return audience is None or any(
        all(_fits(one, asks) for one in match.conditions) for match in audience.any_of
    )


def _fits(one: Condition, asks: Asks) -> bool:
    value = asks.get((one.by, one.name))
    return (value is not None and _has(one, value)) is not one.negated


def _has(one: Condition, value: str) -> bool:
    if one.by is AudienceBy.NETWORK:
        return ip_address(value) in ip_network(one.value)
    if one.how is How.PREFIX:
        return value.startswith(one.value)
    if one.how is How.REGEX:
        return re.fullmatch(one.value, value) is not None
    return value == one.value
