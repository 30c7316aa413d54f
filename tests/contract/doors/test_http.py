"""Prometheus and Alertmanager behind TLS, a password and client certificates."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from adapters.alertmanager import AlertmanagerAlerts
from adapters.errors import AdapterError
from adapters.http_access import open_client
from aviary.access_settings import http_access
from aviary.kinds import registry
from aviary.local import debian
from aviary.local.ports import LOOPBACK, FreePorts
from aviary.local.process import ChildSpec, NotReady, Supervisor
from aviary.metrics_source import make_source
from aviary.settings import load_settings
from tests.contract.doors.conftest import Pem

PASSWORD = "test"
HASHED = "$2b$12$hNf2lSsxfm0.i4a.1kVpSOVyBCfIB51VRjgBUyv6kdnyTlgWj81Ay"
"""Of `test`, from Prometheus' own guide to basic authentication."""
GOOD = {"user": "judge", "password": PASSWORD}


def _listens(port: int) -> Callable[[], Any]:
    async def probe() -> None:
        try:
            _, writer = await asyncio.open_connection(LOOPBACK, port)
        except OSError as error:
            raise NotReady(str(error)) from error
        writer.close()

    return probe


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def ports(
    pem: Pem, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[dict[str, int]]:
    """Where both servers listen, by the names that the settings have for them."""
    folder = tmp_path_factory.mktemp("servers")
    tools = await debian.install(debian.cache_folder())
    tls = {
        "cert_file": str(pem.server),
        "key_file": str(pem.server_key),
        "client_ca_file": str(pem.ca),
        "client_auth_type": "RequireAndVerifyClientCert",
    }
    web = {"tls_server_config": tls, "basic_auth_users": {"judge": HASHED}}
    (folder / "web.yml").write_text(json.dumps(web))
    (folder / "prometheus.yml").write_text("scrape_configs: []\n")
    receivers = {"route": {"receiver": "none"}, "receivers": [{"name": "none"}]}
    (folder / "alertmanager.yml").write_text(json.dumps(receivers))
    free = FreePorts()
    found = {"prometheus": free.take(), "alertmanager": free.take()}
    config = f"--web.config.file={folder}/web.yml"
    listen = {name: f"--web.listen-address={LOOPBACK}:{port}" for name, port in found.items()}
    commands = {
        "prometheus": (
            str(tools.prometheus),
            f"--config.file={folder}/prometheus.yml",
            f"--storage.tsdb.path={folder}/data",
        ),
        "alertmanager": (
            str(tools.alertmanager),
            f"--config.file={folder}/alertmanager.yml",
            f"--storage.path={folder}/alerts",
            "--cluster.listen-address=",
        ),
    }
    async with Supervisor(folder) as children:
        for name, command in commands.items():
            argv = (*command, config, listen[name])
            home = tools.root if name == "alertmanager" else None
            await children.start(ChildSpec(name, argv, cwd=home, probe=_listens(found[name])))
        yield found


async def _ask(part: str, port: int, told: dict[str, Any]) -> Any:
    """Ask a server with these settings, as a worker does."""
    named = {f"{part}_{name}": value for name, value in told.items()}
    settings = load_settings(**{f"{part}_url": f"https://{LOOPBACK}:{port}"}, **named)
    if part == "prometheus":
        _, source = make_source(settings, registry(), {})
        try:
            return await source.query("vector(1)", datetime.now(UTC))
        finally:
            source.close()
    async with AsyncExitStack() as stack:
        client = open_client(http_access(settings, part), timeout_s=10)
        await stack.enter_async_context(client)
        return await AlertmanagerAlerts(settings.alertmanager_url or "", client).firing()


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("part", ["prometheus", "alertmanager"])
async def test_a_password_and_a_certificate_let_us_in(
    part: str, ports: dict[str, int], pem: Pem, tmp_path: Path
) -> None:
    tls = {"ca_file": pem.ca, "cert_file": pem.client}
    assert len(await _ask(part, ports[part], GOOD | tls)) == (part == "prometheus")
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    await _ask(part, ports[part], {"user": "judge", "password_file": file} | tls)


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("part", ["prometheus", "alertmanager"])
@pytest.mark.parametrize(
    ("wrong", "why"),
    [
        ({"password": "hunter-2"}, "401"),
        ({"user": None}, "401"),
        ({"cert": "stranger"}, "ssl|certificate|connection|disconnected"),
        ({"ca_file": None}, "SSLError|certificate verify failed"),
    ],
)
async def test_what_is_missing_or_wrong_keeps_us_out_and_no_secret_is_told(
    part: str, wrong: dict[str, str | None], why: str, ports: dict[str, int], pem: Pem
) -> None:
    told: dict[str, Any] = GOOD | {"ca_file": pem.ca, "cert_file": pem.client}
    match wrong:
        case {"cert": "stranger"}:
            told["cert_file"] = pem.stranger
        case {"user": None}:
            told = {name: told[name] for name in ("ca_file", "cert_file")}
        case _:
            told |= wrong
    with pytest.raises(AdapterError, match=f"(?i){why}") as caught:
        await _ask(part, ports[part], told)
    shown = repr(caught.value) + repr(caught.value.__cause__)
    assert PASSWORD not in shown.replace("latest", "")
    assert "hunter-2" not in shown
