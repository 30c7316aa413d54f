"""Temporal behind a private authority and client certificates.

The dev server speaks no TLS, so Envoy ends it before the server, as a load balancer or a mesh does.
"""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.errors import Retryable
from aviary.connect import check_temporal, connect_temporal
from aviary.local import probes
from aviary.local.parts import envoy_program
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, Supervisor
from aviary.settings import load_settings
from tests.contract.doors.conftest import Pem

_V3 = "type.googleapis.com/envoy.extensions"


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": LOOPBACK, "port_value": port}}


def _config(pem: Pem, port: int, behind: int, admin: int) -> dict[str, Any]:
    """An Envoy that demands a client's certificate and speaks gRPC to what is behind it."""
    tls = {
        "@type": f"{_V3}.transport_sockets.tls.v3.DownstreamTlsContext",
        "require_client_certificate": True,
        "common_tls_context": {
            "alpn_protocols": ["h2"],
            "tls_certificates": [
                {
                    "certificate_chain": {"filename": str(pem.server)},
                    "private_key": {"filename": str(pem.server_key)},
                }
            ],
            "validation_context": {"trusted_ca": {"filename": str(pem.ca)}},
        },
    }
    route = {"match": {"prefix": "/"}, "route": {"cluster": "temporal", "timeout": "0s"}}
    manager = {
        "@type": f"{_V3}.filters.network.http_connection_manager.v3.HttpConnectionManager",
        "stat_prefix": "tls",
        "codec_type": "HTTP2",
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [route]}]},
        "http_filters": [
            {
                "name": "envoy.filters.http.router",
                "typed_config": {"@type": f"{_V3}.filters.http.router.v3.Router"},
            }
        ],
    }
    chain = {
        "transport_socket": {"name": "envoy.transport_sockets.tls", "typed_config": tls},
        "filters": [{"name": "http", "typed_config": manager}],
    }
    protocol = f"{_V3}.upstreams.http.v3.HttpProtocolOptions"
    endpoint = {"endpoint": {"address": _address(behind)}}
    cluster = {
        "name": "temporal",
        "type": "STATIC",
        "typed_extension_protocol_options": {
            "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
                "@type": protocol,
                "explicit_http_config": {"http2_protocol_options": {}},
            }
        },
        "load_assignment": {
            "cluster_name": "temporal",
            "endpoints": [{"lb_endpoints": [endpoint]}],
        },
    }
    return {
        "admin": {"address": _address(admin)},
        "static_resources": {
            "listeners": [{"address": _address(port), "filter_chains": [chain]}],
            "clusters": [cluster],
        },
    }


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def address(pem: Pem, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder = tmp_path_factory.mktemp("temporal")
    free = FreePorts()
    port, behind, admin = free.take(), free.take(), free.take()
    temporal = str(Path(sys.executable).parent / "temporal")
    dev = (temporal, "server", "start-dev", "--headless", "--ip", LOOPBACK, "--port", str(behind))
    config = folder / "envoy.json"
    config.write_text(json.dumps(_config(pem, port, behind, admin)))
    envoy = (str(envoy_program()), "-c", str(config), "--disable-hot-restart", "-l", "warning")
    async with Supervisor(folder) as children:
        await children.start(ChildSpec("temporal", dev, probe=probes.temporal(behind, "default")))
        await children.start(ChildSpec("envoy", envoy, probe=probes.http(admin, "/ready")))
        yield f"{LOOPBACK}:{port}"


def _told(address: str, pem: Pem) -> dict[str, Any]:
    return {
        "temporal_address": address,
        "temporal_tls": True,
        "temporal_ca_file": pem.ca,
        "temporal_cert_file": pem.client,
    }


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("more", [{}, {"temporal_server_name": "temporal.example"}])
async def test_a_certificate_lets_us_in(address: str, pem: Pem, more: dict[str, Any]) -> None:
    client = await connect_temporal(load_settings(**_told(address, pem) | more))
    await check_temporal(client)


@pytest.mark.asyncio(loop_scope="module")
async def test_a_key_may_stand_in_a_file_of_its_own(address: str, pem: Pem, tmp_path: Path) -> None:
    text = pem.client.read_text()
    certificate = text.index("-----BEGIN CERTIFICATE")
    (tmp_path / "key").write_text(text[:certificate])
    (tmp_path / "cert").write_text(text[certificate:])
    files = {"temporal_cert_file": tmp_path / "cert", "temporal_key_file": tmp_path / "key"}
    await check_temporal(await connect_temporal(load_settings(**_told(address, pem) | files)))


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("wrong", ["no authority", "no certificate", "a stranger", "another name"])
async def test_whoever_does_not_fit_is_kept_out(address: str, pem: Pem, wrong: str) -> None:
    told = _told(address, pem)
    match wrong:
        case "no authority":
            del told["temporal_ca_file"]
        case "no certificate":
            del told["temporal_cert_file"]
        case "a stranger":
            told["temporal_cert_file"] = pem.stranger
        case _:
            told["temporal_server_name"] = "other.example"
    with pytest.raises(Retryable, match="Temporal at"):
        await check_temporal(await connect_temporal(load_settings(**told)))
