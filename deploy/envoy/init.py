"""Writes the files that Envoy needs before its first start; what is already there stays.

Inside the compose network only: the admin port answers Aviary's worker and Prometheus.
"""

from pathlib import Path

from adapters.routers.envoy.fleet import EnvoyFleet

EnvoyFleet(Path("/var/lib/aviary/envoy")).bootstrap(
    9901,
    10000,
    admin_host="0.0.0.0",  # noqa: S104 - not published to the host
    listener_host="0.0.0.0",  # noqa: S104 - the way in
)
