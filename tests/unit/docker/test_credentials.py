from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from adapters.deployers.docker.credentials import credentials, normalized
from adapters.errors import Retryable

IMAGE = "registry.example:5000/shop/checkout:1"


def config(folder: Path, **said: Any) -> Path:
    path = folder / "config.json"
    path.write_text(json.dumps(said))
    return path


def helper(folder: Path, monkeypatch: pytest.MonkeyPatch, script: str) -> None:
    path = folder / "docker-credential-test"
    path.write_text(f"#!/bin/sh\n{script}\n")
    path.chmod(0o755)
    monkeypatch.setenv("PATH", str(folder), prepend=":")


@pytest.mark.parametrize(
    ("image", "full"),
    [
        ("nginx", "docker.io/library/nginx:latest"),
        ("shop/checkout:1", "docker.io/shop/checkout:1"),
        ("localhost/x", "localhost/x:latest"),
        ("localhost:5000/x:2", "localhost:5000/x:2"),
        ("r.example/a/b@sha256:ab", "r.example/a/b@sha256:ab"),
    ],
)
def test_an_image_has_a_registry_and_a_tag(image: str, full: str) -> None:
    assert normalized(image) == full


async def test_nothing_is_known_without_a_file(tmp_path: Path) -> None:
    assert await credentials(tmp_path / "none.json", IMAGE) is None


async def test_a_login_is_read(tmp_path: Path) -> None:
    auth = base64.b64encode(b"bob:pass:word").decode()
    path = config(tmp_path, auths={"registry.example:5000": {"auth": auth}})
    found = await credentials(path, IMAGE)
    assert found is not None
    assert (found["username"], found["password"]) == ("bob", "pass:word")
    assert await credentials(path, "other.example/x:1") is None


async def test_the_hub_has_a_name_of_its_own(tmp_path: Path) -> None:
    path = config(tmp_path, auths={"https://index.docker.io/v1/": {"identitytoken": "t"}})
    found = await credentials(path, normalized("nginx"))
    assert found == {"identitytoken": "t", "serveraddress": "https://index.docker.io/v1/"}


@pytest.mark.parametrize("where", ["credHelpers", "credsStore"])
async def test_a_helper_is_asked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    said = json.dumps({"Username": "bob", "Secret": "s3cret"})
    helper(
        tmp_path, monkeypatch, f"""read key; [ "$key" = registry.example:5000 ] && echo '{said}'"""
    )
    value: Any = {"registry.example:5000": "test"} if where == "credHelpers" else "test"
    found = await credentials(config(tmp_path, **{where: value}), IMAGE)
    assert found is not None
    assert (found["username"], found["password"]) == ("bob", "s3cret")


async def test_a_helper_that_knows_nothing_is_no_fault(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    helper(tmp_path, monkeypatch, "echo credentials not found in native keychain; exit 1")
    assert await credentials(config(tmp_path, credsStore="test"), IMAGE) is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo s3cret-in-the-way; exit 2", "ended with 2"),
        ("echo s3cret-in-the-way", "expected JSON"),
    ],
)
async def test_a_helper_that_fails_is_named_and_its_words_are_not_shown(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str, said: str
) -> None:
    helper(tmp_path, monkeypatch, script)
    with pytest.raises(Retryable) as caught:
        await credentials(config(tmp_path, credsStore="test"), IMAGE)
    assert "docker-credential-test" in str(caught.value)
    assert said in str(caught.value)
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize("name", ["../../bin/sh", "nowhere-to-be-found"])
async def test_a_helper_that_is_none_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(Retryable, match="docker-credential-"):
        await credentials(config(tmp_path, credsStore=name), IMAGE)


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000])
async def test_a_broken_file_is_named(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "config.json"
    path.write_bytes(content)
    with pytest.raises(Retryable, match="config.json: expected a JSON object"):
        await credentials(path, IMAGE)
