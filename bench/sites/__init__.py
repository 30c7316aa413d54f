"""Sites of the benchmark of routers: one server of each, with a service in two versions.

Here belongs what starts and asks one product, beside its own command for a weight. What is measured
of them does not: that is `bench.routers`. Another is a module here and a line in `SITES`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from functools import partial
from pathlib import Path
from typing import Final

from bench.sites.caddy import caddy
from bench.sites.envoy import envoy
from bench.sites.gateway import gateway
from bench.sites.haproxy import haproxy
from bench.sites.nginx import nginx
from bench.sites.site import Site
from bench.sites.traefik import traefik

SITES: Final[Mapping[str, Callable[[Path], AbstractAsyncContextManager[Site]]]] = {
    "caddy": caddy,
    "envoy": envoy,
    "gateway api": gateway,
    "haproxy": haproxy,
    "nginx": nginx,
    "traefik": traefik,
    "traefik throttled": partial(traefik, throttle="2s"),
}
"""The last is Traefik with its own default, 2 s between two configurations."""
SLOW: Final = frozenset({"traefik throttled"})
"""Whose changes take seconds: a few of each way are enough."""
IN_TURNS: Final = frozenset({"gateway api"})
"""Where requests take turns, so that nobody is on a version: Traefik behind a Gateway."""
