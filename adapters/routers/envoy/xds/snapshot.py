"""What the folder of an Envoy fleet says, as resources that Envoys are sent."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, NamedTuple

from adapters.errors import Retryable
from adapters.routers.envoy.names import (
    CLUSTER_TYPE,
    LISTENER_TYPE,
    ROUTES_TYPE,
    resource_version,
)
from adapters.routers.envoy.xds.messages import UnknownFieldError, encoded
from adapters.routers.files import read_document, said_by_path

FILES: Final[Mapping[str, str]] = {
    CLUSTER_TYPE: "cds.yaml",
    LISTENER_TYPE: "lds.yaml",
    ROUTES_TYPE: "rds.yaml",
}
"""In the order in which Envoys are sent them: clusters are there before a route names them."""
ADS: Final = {"ads": {}, "resource_api_version": "V3"}


class Resource(NamedTuple):
    """One resource as an Envoy is sent it."""

    version: str
    value: bytes
    written: int
    """When its file was: what an Envoy has refused it is sent again once that was written anew."""


Snapshot = Mapping[str, Mapping[str, Resource]]
"""Resources by type and name."""
Stamp = tuple[tuple[int, int, int], ...]


class FolderSource:
    """Reads a folder of `adapters.routers.envoy.fleet`. Its methods block: milliseconds.

    Args:
        directory: the folder, which its writers share with the control plane, and no Envoy needs.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._stamp: Stamp = ()
        self._read: dict[str, tuple[tuple[int, int, int], Mapping[str, Resource]]] = {}

    def fresh(self) -> Snapshot | None:
        """What is there, if anything was replaced since the last time; None: nothing was.

        Raises:
            Retryable: a file is not there, or is none of Aviary's; what was read before stands.
        """
        stamp = tuple(self._stamp_of(name) for name in FILES.values())
        if stamp == self._stamp:
            return None
        for (kind, name), one in zip(FILES.items(), stamp, strict=True):
            known = self._read.get(kind)
            if known is None or known[0] != one:
                self._read[kind] = (one, _resources(self._directory / name, one[1]))
        self._stamp = stamp
        return {kind: found for kind, (_, found) in self._read.items()}

    def _stamp_of(self, name: str) -> tuple[int, int, int]:
        path = self._directory / name
        with said_by_path(path):
            stat = path.stat()
        return stat.st_ino, stat.st_mtime_ns, stat.st_size


def _resources(path: Path, written: int) -> Mapping[str, Resource]:
    document = read_document(path)
    found = {}
    try:
        for one in document.get("resources", []):
            resource = _by_ads(one)
            name, content = str(resource["name"]), encoded(resource)[1]
            found[name] = Resource(resource_version(resource), content, written)
    except (UnknownFieldError, KeyError, TypeError, AttributeError) as error:
        raise Retryable(f"{path}: expected resources of Aviary's: {error}") from error
    return found


def _by_ads(value: Any) -> Any:
    """The same, with routes from this stream where it says from a file."""
    if isinstance(value, list):
        return [_by_ads(one) for one in value]
    if not isinstance(value, dict):
        return value
    if "path_config_source" in value:
        return ADS
    return {key: _by_ads(one) for key, one in value.items()}
