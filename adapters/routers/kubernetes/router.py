"""Routes in objects of Kubernetes: read, compare, and write over the resourceVersion that was read.

The API server is the judge between writers: of two who read the same object the second is refused,
reads again, and finds a generation that is not smaller than its own. Nothing is kept here.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from adapters.errors import ForeignChange, Retryable, Terminal, UnknownRoute
from adapters.kubernetes.errors import Conflicted, Missing
from adapters.kubernetes.resources import Json
from adapters.routers.fence import change_in, check_able, check_generation, check_over, overtaken
from adapters.routers.kubernetes.form import Api, DataPlane, Form, Place, Versions
from adapters.routers.kubernetes.marks import advice, key, mark, marked, other_manager
from schemas.capabilities import Capabilities
from schemas.route import Confirmation, Health, Route

VERSION_NAME: Final = "{name}"
_TRIES: Final = 20


@dataclass(frozen=True)
class Pace:
    """How long the router waits, in seconds."""

    confirm_within: float = 3.0
    """For all that must confirm a route; keep it below the time-out of the calling activity."""
    poll_every: float = 0.05
    """Between two questions."""


@dataclass(frozen=True)
class _Found:
    place: Place
    object: Json
    applied: Route | None

    @property
    def version(self) -> str:
        return str(self.object["metadata"]["resourceVersion"])


class ObjectRouter:
    """A `Router` over objects that one API server has.

    Args:
        api: of the cluster; closed with the router.
        namespace: of the objects and Services; None: that of the connection.
        form: what the objects look like.
        versions: what stands for versions.
        can: what it can do.
        planes: what carries the traffic, as far as it can be asked.
        label: what metrics call a version, of `{namespace}` and `{name}`.
        pace: waiting times.
        clock: seconds that only grow.
        sleep: waits for seconds.
    """

    def __init__(  # noqa: PLR0913 - two are seams for time
        self,
        api: Api,
        form: Form,
        *,
        versions: Versions,
        can: Capabilities,
        namespace: str | None = None,
        planes: Sequence[DataPlane] = (),
        label: str = VERSION_NAME,
        pace: Pace = Pace(),
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._api = api
        self._form = form
        self._versions = versions
        self._can = can
        self._namespace = namespace
        self._planes = planes
        self._label = label
        self._pace = pace
        self._clock = clock
        self._sleep = sleep

    async def locate(self, service: str, version: str) -> str:
        """The Service, or subset, of one version, as metrics have it."""
        return await self._labelled(self._versions.name(service, version))

    async def locate_apart(self, service: str, version: str) -> str:
        """Likewise for copies and for who asks for the version: its twin, where it has one."""
        return await self._labelled(self._versions.apart_name(service, version))

    async def _labelled(self, name: str) -> str:
        if self._label == VERSION_NAME:
            return name
        return self._label.format(namespace=await self._where(), name=name)

    async def exists(self, service: str, version: str) -> bool:
        """Whether there is a Service, or subset, of a version."""
        return await self._versions.exists(await self._where(), service, version)

    async def read(self, service: str) -> Route:
        """The route that the objects carry; where they differ, the newest."""
        found = await self._find(service)
        routes = [one.applied for one in found if one.applied is not None]
        if routes:
            return max(routes, key=lambda route: route.generation)
        for one in found:
            if self._form.is_touched(one.object, service):
                raise self._changed(one, service, f"the annotation {key(service)}")
        raise UnknownRoute(
            f"{service}: {found[0].place} has no route of Aviary's, expected the annotation "
            f"{key(service)}"
        )

    async def register(self, service: str, stable: str) -> Route:
        """Give a service its first route, all to `stable`; return the route that it has.

        Changes nothing for a service that has a route. Waits for no data plane.

        Raises:
            UnknownRoute: `stable` has no Service with instances, or nothing sends to the service.
            ForeignChange: there are rules of Aviary's, but not the route that they are of.
            Retryable: the route could not be written.
        """
        route = Route.split(service, stable)
        for _ in range(_TRIES):
            try:
                return await self.read(service)
            except UnknownRoute:
                found = await self._find(service)
            await self._versions.check(await self._where(), service, (stable,))
            if await self._write(found, route, route):
                return route
        raise self._crowded(service)

    async def apply(self, route: Route, over: Route | None = None) -> Confirmation:
        """Write the route, and return once all confirm that it is served (see the port)."""
        check_able(route, self._can)
        deadline = self._clock() + self._pace.confirm_within
        for _ in range(_TRIES):
            before = await self._find(route.service)
            missing = self._check(before, route, over)
            await self._versions.check(await self._where(), route.service, missing)
            if await self._write(before, route, over):
                after = await self._confirm(before, route, over, deadline)
                text = ", ".join(
                    f"{one.place} {one.object['metadata']['generation']}" for one in after
                )
                return Confirmation(route=route, mark=text)
        raise self._crowded(route.service)

    async def changed(self, route: Route) -> str:
        """What the objects have, where somebody else has written in them."""
        found = await self._find(route.service)
        return change_in(lambda: self._check(found, route, route))

    async def instances(self, service: str) -> Mapping[str, Health] | None:
        """The instances of each version, as the EndpointSlices of its Service have them."""
        known: tuple[str, ...] = ()
        with contextlib.suppress(Terminal):  # without a route, its labels tell them
            known = (await self.read(service)).versions
        return await self._versions.healths(await self._where(), service, known)

    async def aclose(self) -> None:
        """Close its connections."""
        await self._api.aclose()
        for plane in self._planes:
            await plane.aclose()

    async def _where(self) -> str:
        if self._namespace is None:
            self._namespace = await self._api.namespace()
        return self._namespace

    async def _find(self, service: str) -> list[_Found]:
        """The objects of a service.

        Raises:
            UnknownRoute: one is not there.
        """
        namespace, found = await self._where(), []
        for place in self._form.places(service):
            one = await self._api.get(place.resource, place.name, namespace)
            if one is None:
                raise UnknownRoute(
                    f"{service}: expected {place} in namespace {namespace}, found none"
                )
            found.append(_Found(place, one, marked(one, service)))
        return found

    def _check(self, found: Sequence[_Found], route: Route, over: Route | None) -> set[str]:
        """Raise if a route may not be written; return the versions that must have instances."""
        missing: set[str] = set()
        for one in found:
            applied = one.applied
            if applied is None:  # never written, or the mark was taken away: a rollback overrules
                if over is not None:
                    raise self._changed(one, route.service, over.text)
                missing |= set(route.versions)
                continue
            check_generation(route, applied)
            check_over(route, applied, over)
            if over is not None and self._is_changed(one, applied):
                raise self._changed(one, route.service, applied.text)
            # Nothing may stand in the way of a rollback.
            missing |= set(route.versions) - set(applied.versions)
        return missing

    def _is_changed(self, one: _Found, applied: Route) -> bool:
        """Whether an object is not as Aviary left it."""
        try:
            spec = self._form.put(one.object, applied, applied)
        except Terminal:
            return True
        return any(one.object["spec"].get(name) != value for name, value in spec.items())

    def _changed(self, one: _Found, service: str, expected: str) -> ForeignChange:
        text = self._form.text(one.object, service, one.applied) or "another form"
        who = other_manager(one.object, self._form.path)
        hint = advice(who)
        what = f"{one.place}: found {text}, expected {expected}{f'. {hint}' if hint else ''}"
        return ForeignChange(service, what, who)

    async def _write(self, found: Sequence[_Found], route: Route, over: Route | None) -> bool:
        """Write a route into each object that lacks it; False: somebody else was faster."""
        bodies = [(one, self._body(one, route)) for one in found]
        wanted = [(one, body) for one, body in bodies if body is not None]
        namespace = await self._where()
        try:
            if len(wanted) > 1:  # nothing is written half
                for one, body in wanted:
                    await self._patch(one.place, body, namespace, dry_run=True)
            for one, body in wanted:
                kept = await self._patch(one.place, body, namespace)
                after = _Found(one.place, kept, marked(kept, route.service))
                # A rollback stays, whatever became of it: some of it is better than none.
                if over is not None and (after.applied != route or self._is_changed(after, route)):
                    taken = await self._take_back(one, route)
                    raise Terminal(
                        f"{route.service}: {one.place} was not kept as it was written, expected a "
                        f"definition that knows all of its fields, and no webhook that changes "
                        f"it; it {taken}"
                    )
        except Conflicted:
            return False
        except Missing as gone:
            raise UnknownRoute(f"{route.service}: {gone}") from gone
        return True

    async def _patch(
        self, place: Place, body: Json, namespace: str, *, dry_run: bool = False
    ) -> Json:
        return await self._api.patch(place.resource, place.name, body, namespace, dry_run=dry_run)

    def _body(self, one: _Found, route: Route) -> Json | None:
        """What is to be merged into an object; None: it is as it should be."""
        spec = self._form.put(one.object, route, one.applied)
        there = one.object["spec"]
        if one.applied == route and all(there.get(name) == value for name, value in spec.items()):
            return None
        about = {"resourceVersion": one.version, "annotations": {key(route.service): mark(route)}}
        return {"metadata": about, "spec": spec}

    async def _confirm(
        self, before: Sequence[_Found], route: Route, over: Route | None, deadline: float
    ) -> Sequence[_Found]:
        """Wait until whatever can be asked says that it serves the route."""
        while True:
            found = await self._find(route.service)
            lag = await self._lag(found, before, route, over)
            if not lag:
                return found
            if self._clock() >= deadline:
                raise Retryable(
                    f"{route.service}: generation {route.generation} was written but not confirmed "
                    f"within {self._pace.confirm_within} s: {lag}"
                )
            await self._sleep(self._pace.poll_every)

    async def _lag(
        self, found: Sequence[_Found], before: Sequence[_Found], route: Route, over: Route | None
    ) -> str:
        """Why the route is not served yet; empty: it is.

        Raises:
            StaleGeneration: a newer one has replaced it.
            Terminal: it is refused.
        """
        lags: list[str] = []
        for one, was in zip(found, before, strict=True):
            if one.applied != route:
                if one.applied is not None and one.applied.generation > route.generation:
                    raise overtaken(route, one.applied)
                return f"{one.place} has another route"
            said = self._form.said(one.object)
            if said.refused:
                why = f"{one.place}: {'; '.join(said.refused)}"
                # What was refused before is not refused for this route, and a rollback goes on.
                if over is None or self._form.said(was.object).refused:
                    return why
                taken = await self._take_back(was, route)
                raise Terminal(f"{route.service}: {why}; it {taken}")
            lags += [f"{one.place}: {text}" for text in said.unsaid]
        if not lags:
            objects = [one.object for one in found]
            lags = [lag for one in self._planes if (lag := await one.lag(route, objects))]
        return "; ".join(lags)

    async def _take_back(self, was: _Found, route: Route) -> str:
        """Write again what an object had before a route.

        Raises:
            StaleGeneration: a newer one has replaced it, and so there was nothing to find.
        """
        namespace = await self._where()
        now = await self._api.get(was.place.resource, was.place.name, namespace)
        applied = None if now is None else marked(now, route.service)
        if applied is not None and applied.generation > route.generation:
            raise overtaken(route, applied)
        if now is None or applied != route:
            return "was left"
        old = None if was.applied is None else mark(was.applied)
        about = {
            "resourceVersion": now["metadata"]["resourceVersion"],
            "annotations": {key(route.service): old},
        }
        names = self._form.put(was.object, route, was.applied)
        spec = {name: was.object["spec"].get(name) for name in names}
        body = {"metadata": about, "spec": spec}
        try:
            await self._api.patch(was.place.resource, was.place.name, body, namespace)
        except (Conflicted, Terminal):
            return "was left"
        return "was taken back"

    def _crowded(self, service: str) -> Retryable:
        return Retryable(f"{service}: others write its route all the time")
