"""The bootstrap of an Envoy that is told everything by a control plane."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from adapters.routers.envoy import clusters, sampling
from adapters.routers.envoy.names import TYPES
from adapters.routers.envoy.xds.server import CLUSTER
from adapters.routers.envoy.xds.snapshot import ADS
from adapters.tls import TlsFiles

_XDS: Final = "aviary-xds"
_TLS: Final = f"{TYPES}envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext"
_HTTP: Final = f"{TYPES}envoy.extensions.upstreams.http.v3.HttpProtocolOptions"


def ads_bootstrap(
    node: str,
    control: Sequence[tuple[str, int]],
    *,
    admin: tuple[str, int] = ("127.0.0.1", 9901),
    tls: TlsFiles | None = None,
    server_name: str = "",
) -> dict[str, Any]:
    """What Envoy is started with, as JSON, which it reads as YAML.

    Args:
        node: its id, which no other has.
        control: host and port of each control plane; one that is down is left for another.
        admin: where it is asked what it serves: reachable for Aviary's workers, and nobody else.
        tls: authorities of the control planes, and this Envoy's certificate and key, as paths that
            it sees; None: without encryption.
        server_name: that the certificates of control planes must be for; empty: of any of the
            authorities.
    """
    addresses = [{"endpoint": {"address": clusters.address(*one)}} for one in control]
    plane: dict[str, Any] = {
        "name": _XDS,
        "type": "STRICT_DNS",
        "connect_timeout": "1s",
        "load_assignment": {"cluster_name": _XDS, "endpoints": [{"lb_endpoints": addresses}]},
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": _HTTP,
                "explicit_http_config": {
                    "http2_protocol_options": {
                        "connection_keepalive": {"interval": "30s", "timeout": "5s"}
                    }
                },
            }
        },
    }
    if tls is not None:
        plane["transport_socket"] = _transport(tls, server_name)
    return {
        "node": {"id": node, "cluster": CLUSTER},
        "admin": {"address": clusters.address(*admin)},
        "static_resources": {"clusters": [plane]},
        "dynamic_resources": {
            "ads_config": {
                "api_type": "DELTA_GRPC",
                "transport_api_version": "V3",
                "grpc_services": [
                    {
                        "envoy_grpc": {
                            "cluster_name": _XDS,
                            # The default lets it wait for half a minute once one came back.
                            "retry_policy": {
                                "retry_back_off": {"base_interval": "0.25s", "max_interval": "2s"}
                            },
                        }
                    }
                ],
            },
            "cds_config": ADS,
            "lds_config": ADS,
        },
        "stats_config": sampling.stats_config(),
        # Otherwise a scrape sees histograms that are up to five seconds old.
        "stats_flush_on_admin": True,
    }


def _transport(tls: TlsFiles, server_name: str) -> dict[str, Any]:
    common: dict[str, Any] = {
        "validation_context": {
            "trusted_ca": {"filename": str(tls.ca)},
            **(
                {
                    "match_typed_subject_alt_names": [
                        {"san_type": "DNS", "matcher": {"exact": server_name}}
                    ]
                }
                if server_name
                else {}
            ),
        },
        "tls_certificates": [
            {
                "certificate_chain": {"filename": str(tls.cert)},
                "private_key": {"filename": str(tls.key or tls.cert)},
            }
        ],
    }
    socket = {"@type": _TLS, "common_tls_context": common}
    return {
        "name": "envoy.transport_sockets.tls",
        "typed_config": socket | ({"sni": server_name} if server_name else {}),
    }
