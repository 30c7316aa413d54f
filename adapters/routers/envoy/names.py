"""Names of Envoy's clusters, and how a resource file is laid out.

A pool's cluster is `<service>@<version>` with `.` written as `~` and `:` (of a digest) as `!`:
Envoy splits its metric names at dots and writes colons as `_`. Neither sign is in a version, so the
name can be read back. Three more clusters stand beside each pool; `/` is in no pool's name, so
none can be taken for one:

- `<pool>/apart`: the same instances for what no split sent there: requests that ask for this
  version by header or cookie, those of everybody whom the canary is not for, and copies. They are
  counted apart and change neither the measured share nor what a canary is judged by.
- `<pool>/<fallback pool>`: an aggregate that turns to the fallback while the pool has no healthy
  instance. Envoy counts each of its requests in the pool that really had it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

TYPES = "type.googleapis.com/"
ROUTES_TYPE = f"{TYPES}envoy.config.route.v3.RouteConfiguration"
CLUSTER_TYPE = f"{TYPES}envoy.config.cluster.v3.Cluster"
LISTENER_TYPE = f"{TYPES}envoy.config.listener.v3.Listener"

ROUTES_NAME = "aviary"
"""Name of the route configuration that holds all services."""
STAT_PREFIX = "aviary"
"""Envoy's metric prefix of the listener: `http.aviary.…`."""
METADATA_KEY = "aviary"
"""Where Envoy's resources carry what Aviary must find again (`metadata.filter_metadata`)."""

_SIGNS = str.maketrans({".": "~", ":": "!"})


def pool_name(service: str, version: str) -> str:
    """Name of the cluster of one version, as metrics show it: `payments@2~0~1`."""
    return f"{service}@{version.translate(_SIGNS)}"


def apart_name(service: str, version: str) -> str:
    """Name of the cluster for requests that no split sends there: `payments@2~0~1/apart`."""
    return f"{pool_name(service, version)}/apart"


def guarded_name(service: str, version: str, fallback: str) -> str:
    """Name of the aggregate that falls back from one version to another."""
    return f"{pool_name(service, version)}/{pool_name(service, fallback)}"


def guarded_apart_name(service: str, version: str, fallback: str) -> str:
    """Name of the same of their clusters that are counted apart."""
    return f"{guarded_name(service, version, fallback)}/apart"


def resource_file(resources: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Lay out a file of resources; its version is a hash of them: the same content is no news."""
    canonical = json.dumps(resources, sort_keys=True).encode()
    return {
        "version_info": hashlib.sha256(canonical).hexdigest(),
        "resources": list(resources),
    }


def resource_version(resource: Mapping[str, Any]) -> str:
    """The version of one resource as a control plane sends it: the same content has the same."""
    return hashlib.sha256(json.dumps(resource, sort_keys=True).encode()).hexdigest()[:32]


def tagged(values: Mapping[str, Any]) -> dict[str, Any]:
    """Envoy metadata that carries Aviary's own values."""
    return {"filter_metadata": {METADATA_KEY: dict(values)}}


def tag_of(resource: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """Aviary's own values in a resource, or None where it has none."""
    tag = resource.get("metadata", {}).get("filter_metadata", {}).get(METADATA_KEY)
    return tag if isinstance(tag, Mapping) else None
