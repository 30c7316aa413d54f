"""The webhook speaks TLS itself, to whom it is told to, and goes on with a renewed certificate."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import httpx
import pytest
import trustme

from aviary import http
from aviary.http import ServerTls, listen, serve
from tests.unit.api.fakes import FakeSource, app_of, bearer, eventually


@asynccontextmanager
async def served(tls: ServerTls) -> AsyncIterator[str]:
    taken = listen("127.0.0.1", 0)
    stop = asyncio.Event()
    serving = asyncio.create_task(serve(app_of(FakeSource()), taken, stop, name="test", tls=tls))
    try:
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"
    finally:
        stop.set()
        await serving


def write(folder: Path, authority: trustme.CA) -> ServerTls:
    made = authority.issue_cert("127.0.0.1")
    made.cert_chain_pems[0].write_to_path(folder / "cert.pem")
    made.private_key_pem.write_to_path(folder / "key.pem")
    return ServerTls(folder / "cert.pem", folder / "key.pem")


def trusting(authority: trustme.CA, client: trustme.LeafCert | None = None) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    if client is not None:
        client.configure_cert(context)
    return context


async def asked(url: str, context: ssl.SSLContext) -> int:
    async with httpx.AsyncClient(verify=context, timeout=60) as client:
        return (await client.get(f"{url}/releases/shop-1", headers=bearer("reader"))).status_code


async def test_only_callers_with_a_certificate_connect_and_a_token_is_needed_all_the_same(
    tmp_path: Path,
) -> None:
    ours, theirs = trustme.CA(), trustme.CA()
    tls = write(tmp_path, ours)
    theirs.cert_pem.write_to_path(tmp_path / "callers.pem")
    tls = ServerTls(tls.cert, tls.key, tmp_path / "callers.pem")
    async with served(tls) as url:
        good = trusting(ours, theirs.issue_cert("alertmanager"))
        assert await asked(url, good) == 200
        async with httpx.AsyncClient(verify=good, timeout=60) as client:
            assert (await client.get(f"{url}/releases")).status_code == 401
        for bad in (trusting(ours), trusting(ours, ours.issue_cert("another"))):
            with pytest.raises((httpx.ReadError, httpx.ConnectError, httpx.RemoteProtocolError)):
                await asked(url, bad)
        with pytest.raises((httpx.ReadError, httpx.RemoteProtocolError)):
            await asked(url.replace("https:", "http:"), good)


async def test_a_renewed_certificate_is_shown_and_a_broken_one_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "RENEWED_EVERY_S", 0.02)
    old, new = trustme.CA(), trustme.CA()
    async with served(write(tmp_path, old)) as url:
        assert await asked(url, trusting(old)) == 200
        (tmp_path / "cert.pem").write_text("nonsense")
        await asyncio.sleep(0.2)
        assert await asked(url, trusting(old)) == 200
        write(tmp_path, new)

        async def renewed() -> bool:
            try:
                return await asked(url, trusting(new)) == 200
            except httpx.ConnectError:
                return False

        await eventually(renewed)


async def test_a_certificate_that_is_none_ends_the_start(tmp_path: Path) -> None:
    (tmp_path / "cert.pem").write_text("nonsense")
    with pytest.raises(OSError, match="PEM"):
        async with served(ServerTls(tmp_path / "cert.pem")):
            pass
