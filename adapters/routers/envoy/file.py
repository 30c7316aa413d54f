"""The file of all routes: the one store of what is applied, shared by all who write it."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from adapters.errors import ForeignChange, Retryable, Terminal, Unsupported
from adapters.routers.envoy import sources
from adapters.routers.envoy.admin import Served
from adapters.routers.envoy.fleet import EnvoyFleet
from adapters.routers.envoy.names import resource_file, resource_version, tag_of
from adapters.routers.envoy.routes import (
    Domains,
    host_in,
    is_changed,
    leased_in,
    route_in,
    sealed,
    split_in,
    tags_in,
    virtual_host,
)
from adapters.routers.envoy.xds.nodes import refusals, told_by
from adapters.routers.fence import (
    check_generation,
    check_over,
    check_pools,
    known,
    overtaken,
)
from adapters.routers.files import (
    locked,
    other_writer,
    read_document,
    said_by_path,
    write_whole,
)
from schemas.audience import AudienceBy
from schemas.route import Route

_IN_LOG = "Envoy's log says why it was rejected"
_SHOWN_MOST = 3
"""Envoys whose words are repeated."""


class RouteFile:
    """Reads and replaces `rds.yaml`. Its methods block, and raise `Retryable` for file trouble.

    Args:
        directory: the fleet's.
        domains: the hosts of a service.
        lock_within: seconds to wait for another writer.
        clock: seconds that only grow.
    """

    def __init__(
        self,
        directory: Path,
        domains: Domains,
        lock_within: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fleet = EnvoyFleet(directory)
        self._path = self._fleet.routes_path
        self._domains = domains
        self._lock_within = lock_within
        self._clock = clock

    def versions(self, service: str) -> frozenset[str]:
        """The versions of a service that have a pool."""
        return self._fleet.versions(service)

    def read(self, service: str) -> Route:
        """The route of a service.

        Raises:
            UnknownRoute: it has none.
            ForeignChange: it has one that carries nothing of Aviary's any more.
        """
        config = self._config()
        self._refuse_unmarked(config, service)
        return known(route_in(config, service), service)

    def leased(self, services: Collection[str]) -> list[Route]:
        """The routes of these services that have a lease; one that is damaged is left out."""
        config = self._config()
        found = []
        for service in leased_in(config).intersection(services):
            with contextlib.suppress(Retryable):
                route = route_in(config, service)
                if route is not None and route.lease is not None:
                    found.append(route)
        return found

    def register(self, route: Route) -> Route:
        """Add a route for a service that has none; return the route it has.

        Raises:
            UnknownRoute: its version has no pool.
        """
        with self._locked():
            config = self._config()
            self._refuse_unmarked(config, route.service)
            there = route_in(config, route.service)
            if there is not None:
                return there
            check_pools(route, self._fleet.versions(route.service))
            self._replace(config, virtual_host(route, self._domains))
            return route

    def check_sources(self, route: Route) -> None:
        """Refuse an audience by network where the listener does not say where requests come from.

        Raises:
            Unsupported: so it is.
        """
        audiences = (route.audience, *(one.audience for one in route.kept))
        conditions = [one for each in audiences if each is not None for one in each.conditions]
        if not any(one.by is AudienceBy.NETWORK for one in conditions):
            return
        path = self._fleet.listeners_path
        with said_by_path(path):
            kept = sources.is_kept(path)
        if not kept:
            raise Unsupported(
                f"{route.service}: audience by network: expected a listener that keeps the address "
                f"of each connection as {sources.SOURCE}, {path} has none (docs/how-to/routers.md)"
            )

    def check(self, route: Route, over: Route | None) -> None:
        """Raise what `write` would raise for this route now; write nothing."""
        self._check(self._config(), route, over)

    def write(self, route: Route, over: Route | None = None) -> Mapping[str, Any]:
        """Put a route in, if the fence lets it through; return the configuration before.

        Raises:
            StaleGeneration, ForeignChange, UnknownRoute: see `adapters.ports.Router.apply`.
        """
        with self._locked():
            config = self._config()
            self._check(config, route, over)
            # The same route is written again as well: it may never have reached an Envoy.
            self._replace(config, virtual_host(route, self._domains))
            return config

    def again(self, route: Route) -> None:
        """Write the file once more as it is, so that every Envoy reads it and says what it thinks.

        Raises:
            StaleGeneration: a newer route has replaced this one.
            Retryable: it was taken out by another writer, with a file that was rejected.
        """
        with self._locked():
            config = self._config()
            self._need_in(config, route)
            write_whole(self._path, resource_file([config]))

    def settle_rejection(
        self, route: Route, by: str, served: Served, before: Mapping[str, Any]
    ) -> None:
        """After Envoy `by` has rejected the file: put back what it serves.

        Returns if the file had changes of others too: the route then stands in it by itself, and
        the others find theirs taken out.

        Raises:
            Terminal: the route was the only change; it is taken out.
            StaleGeneration: a newer route has replaced it.
            Retryable: it was taken out by another writer who settled this rejection.
        """
        reason = f"{route.service}: {by} rejected the file with generation {route.generation}"
        with self._locked():
            wanted = self._config()
            good = _as_written(served.config or before, before, wanted)
            now, then = tags_in(wanted), tags_in(good)
            self._need_in(wanted, route)
            others = {s for s in now.keys() | then.keys() if now.get(s) != then.get(s)}
            if others - {route.service}:
                host = next(h for h in wanted["virtual_hosts"] if h["name"] == route.service)
                self._replace(good, host)
                return
            why = refusals_of(self._fleet.directory, wanted)
            write_whole(self._path, resource_file([good]))
        raise Terminal(f"{reason}; it was taken back ({why or _IN_LOG})")

    def has_control_plane(self) -> bool:
        """Whether a control plane tells Envoys, some or all, what the file says."""
        return bool(told_by(self._fleet.directory))

    def refusals(self) -> str:
        """What Envoys that a control plane tells say of this file; empty where none refuses it."""
        return refusals_of(self._fleet.directory, self._config())

    def _check(self, config: Mapping[str, Any], route: Route, over: Route | None) -> None:
        host = host_in(config, route.service)
        if host is None:
            known(None, route.service)
        elif over is not None and is_changed(host):
            raise self._changed(route.service, host, over.text)
        applied = route_in(config, route.service)
        if applied is None:  # its mark was taken away, and that is overruled
            check_pools(route, self._fleet.versions(route.service))
            return
        check_generation(route, applied)
        check_over(route, applied, over)
        # What is applied keeps its pools (`EnvoyFleet.set_pools`): no way back reads their file.
        if not set(route.versions) <= set(applied.versions):
            check_pools(route, self._fleet.versions(route.service))

    def _refuse_unmarked(self, config: Mapping[str, Any], service: str) -> None:
        """A route that lost its mark is no service without a route."""
        host = host_in(config, service)
        if host is not None and tag_of(host) is None:
            raise self._changed(service, host, "the mark of the release that wrote it last")

    def _changed(self, service: str, host: Mapping[str, Any], expected: str) -> ForeignChange:
        what = f"found {split_in(host) or 'another form'}, expected {expected}"
        return ForeignChange(service, f"{self._path.name}: {what}", other_writer(self._path))

    def _need_in(self, config: Mapping[str, Any], route: Route) -> None:
        now = route_in(config, route.service)
        if now is not None and now.generation > route.generation:
            raise overtaken(route, now)
        if now != route:
            raise Retryable(
                f"{route.service}: generation {route.generation} was in a file that was rejected, "
                "and was taken back with it"
            )

    def _locked(self) -> AbstractContextManager[None]:
        return locked(self._fleet.directory, self._lock_within, self._clock)

    def _config(self) -> Mapping[str, Any]:
        resources = read_document(self._path).get("resources")
        if not isinstance(resources, list) or len(resources) != 1:
            raise Retryable(f"{self._path}: expected exactly one route configuration")
        config: Mapping[str, Any] = resources[0]
        return config

    def _replace(self, config: Mapping[str, Any], host: Mapping[str, Any]) -> None:
        hosts: Sequence[Mapping[str, Any]] = config.get("virtual_hosts", [])
        others = [other for other in hosts if other.get("name") != host["name"]]
        ordered = sorted([*others, host], key=lambda one: str(one.get("name")))
        write_whole(self._path, resource_file([{**config, "virtual_hosts": ordered}]))


def refusals_of(directory: Path, config: Mapping[str, Any]) -> str:
    """Why Envoys of a control plane refuse a configuration: some of their words."""
    found = refusals(directory, resource_version(config))
    shown = [f"{name}: {why}" for name, why in sorted(found.items())[:_SHOWN_MOST]]
    more = len(found) - len(shown)
    return "; ".join([*shown, *([f"and {more} more"] if more else [])])


def _as_written(good: Mapping[str, Any], *files: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration as Envoy tells it, its hosts in the form in which they were written."""
    written = {_mark(host): host for file in files for host in file.get("virtual_hosts", [])}
    hosts = [written.get(_mark(host), sealed(host)) for host in good.get("virtual_hosts", [])]
    return {**good, "virtual_hosts": hosts}


def _mark(host: Mapping[str, Any]) -> str:
    return json.dumps([host.get("name"), tag_of(host)], sort_keys=True)
