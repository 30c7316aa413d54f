"""Names of HAProxy's backends.

The backend of a version is `<service>:<version>` with `+` written as `::`: HAProxy takes letters,
digits and `. : _ -`, no service has a colon, and of versions only a digest has one. So a name can
be read back. Beside each stands `<backend>:apart`, which is no version's: the same instances for
what no split sent there. These requests are counted apart, and change neither the measured share
nor what a canary is judged by.
"""

from __future__ import annotations

from typing import Final

_PLUS: Final = "::"
_APART: Final = ":apart"

NOBODY: Final = "aviary-nobody"
"""The backend of requests for a service that has no route."""


def pool_name(service: str, version: str) -> str:
    """Name of the backend of one version, as metrics show it: `payments:2.0.1`."""
    return f"{service}:{written(version)}"


def apart_name(service: str, version: str) -> str:
    """Name of the backend for requests that no split sends there: `payments:2.0.1:apart`."""
    return f"{pool_name(service, version)}{_APART}"


def written(version: str) -> str:
    """A version as it stands in a backend's name."""
    return version.replace("+", _PLUS)


def version_in(backend: str, service: str) -> str | None:
    """The version whose pool a backend is; None for one apart, or of another service."""
    owner, _, rest = backend.partition(":")
    if owner != service or not rest or rest.endswith(_APART):
        return None
    return rest.replace(_PLUS, "+")
