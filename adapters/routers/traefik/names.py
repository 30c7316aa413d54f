"""Names of Traefik's routers, services and middlewares.

A pool is the Traefik service `<service>_<version>`: `_` is in no service's name, so the version can
be read back. Beside it stands its twin, `<pool>~apart`, with the same instances, for what no split
sent there: requests that ask for this version by header or cookie, those of everybody whom the
canary is not for, and copies. They are counted apart and change neither the measured share nor what
a canary is judged by.

All else is `<service>`, or begins with `<service>.`; a dot is in no service's name either. But for
the middleware `<service>_~pools`, which is beside the pools that Aviary was told of.
"""

from __future__ import annotations

from typing import Final

APART: Final = "~apart"
"""Ends the name of a pool's twin; `~` is in no version."""


def pool_name(service: str, version: str) -> str:
    """Name of the Traefik service of one version: `payments_2.0.1`."""
    return f"{service}_{version}"


def apart_name(service: str, version: str) -> str:
    """Name of the Traefik service for requests that no split sends to a version."""
    return f"{pool_name(service, version)}{APART}"


def version_of(service: str, name: str) -> str | None:
    """The version whose pool has this name; None if it is another service's, or no pool."""
    prefix = f"{service}_"
    if not name.startswith(prefix) or name.endswith(APART):
        return None
    return name.removeprefix(prefix) or None


def mark_name(service: str) -> str:
    """Name of the middleware that carries the route of a service, and acts on nothing."""
    return f"{service}.route"


def pools_mark_name(service: str) -> str:
    """Name of the middleware that carries what was told of a service's pools."""
    return f"{service}_~pools"


def of_provider(name: str, provider: str) -> str:
    """A name as Traefik's API and metrics show it: `payments_2.0.1@file`."""
    return f"{name}@{provider}"
