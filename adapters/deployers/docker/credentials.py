"""Registry credentials from where `docker login` keeps them: config.json, credential helpers."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
from pathlib import Path
from typing import Any, Final

from adapters.errors import Retryable

HUB: Final = "docker.io"
_HUB_KEY: Final = "https://index.docker.io/v1/"
_MOST: Final = 1 << 20
_HELPER_S: Final = 10.0
_HELPER: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")


def normalized(image: str) -> str:
    """An image with its registry, and with a tag: `nginx` is `docker.io/library/nginx:latest`."""
    first, slash, rest = image.partition("/")
    if not (slash and ("." in first or ":" in first or first == "localhost")):
        first, rest = HUB, image if slash else f"library/{image}"
    if "@" not in rest and ":" not in rest.rpartition("/")[2]:
        rest = f"{rest}:latest"
    return f"{first}/{rest}"


def config_path(chosen: Path | None) -> Path:
    """The config.json that holds."""
    if chosen is not None:
        return chosen
    folder = os.environ.get("DOCKER_CONFIG")
    return (Path(folder) if folder else Path.home() / ".docker") / "config.json"


async def credentials(config: Path | None, image: str) -> dict[str, Any] | None:
    """What the daemon is told of us for a registry; None: nothing is known.

    Args:
        config: Docker's config.json, where it is not at its usual place.
        image: with its registry.

    Raises:
        Retryable: the file or a helper can't be read; names them, and no secret.
    """
    path = config_path(config)
    document = await asyncio.to_thread(_read, path)
    registry = image.partition("/")[0]
    keys = [_HUB_KEY, HUB, "index.docker.io"] if registry == HUB else _keys(registry)
    helpers = document.get("credHelpers")
    for key in keys:
        helper = helpers.get(key) if isinstance(helpers, dict) else None
        if isinstance(helper, str) and (found := await _asked(helper, key)) is not None:
            return found
    store = document.get("credsStore")
    for key in keys if isinstance(store, str) and store else []:
        if (found := await _asked(str(store), key)) is not None:
            return found
    auths = document.get("auths")
    for key in keys if isinstance(auths, dict) else []:
        entry = auths.get(key) if isinstance(auths, dict) else None
        if isinstance(entry, dict) and (found := _of_entry(entry, key, path)) is not None:
            return found
    return None


def _keys(registry: str) -> list[str]:
    return [registry, f"https://{registry}", f"https://{registry}/", f"http://{registry}"]


def _read(path: Path) -> dict[str, Any]:
    try:
        with path.open("rb") as file:
            content = file.read(_MOST + 1)
    except FileNotFoundError:
        return {}
    except OSError as error:
        raise Retryable(f"{path}: {error.strerror}") from None
    try:
        document = json.loads(content) if len(content) <= _MOST else None
    except (ValueError, RecursionError):
        document = None
    if not isinstance(document, dict):
        raise Retryable(f"{path}: expected a JSON object of at most {_MOST:,} bytes")
    return document


def _of_entry(entry: dict[str, Any], key: str, path: Path) -> dict[str, Any] | None:
    token = entry.get("identitytoken")
    if isinstance(token, str) and token:
        return {"identitytoken": token, "serveraddress": key}
    user, password = entry.get("username"), entry.get("password")
    if isinstance(encoded := entry.get("auth"), str) and encoded:
        try:
            user, _, password = base64.b64decode(encoded).decode().partition(":")
        except ValueError:
            raise Retryable(
                f"{path}: auths: {key}: auth: expected base64 of user:password"
            ) from None
    if not (isinstance(user, str) and isinstance(password, str) and user):
        return None
    return {"username": user, "password": password, "serveraddress": key}


async def _asked(helper: str, key: str) -> dict[str, Any] | None:
    """Ask `docker-credential-<helper>`; None: it has nothing of this registry."""
    program = f"docker-credential-{helper}"
    if not _HELPER.fullmatch(helper):
        raise Retryable(f"{program[:100]!r}: expected the name of a credential helper")
    try:
        process = await asyncio.create_subprocess_exec(
            program,
            "get",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.DEVNULL,
        )
    except OSError as error:
        raise Retryable(f"{program}: {error.strerror}") from None
    try:
        output, _ = await asyncio.wait_for(process.communicate(key.encode()), _HELPER_S)
    except TimeoutError:
        raise Retryable(f"{program}: no answer within {_HELPER_S:g} s") from None
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    if process.returncode != 0:
        if b"credentials not found" in output:
            return None
        raise Retryable(f"{program}: ended with {process.returncode}")
    try:
        said = json.loads(output[:_MOST])
        user, secret = said["Username"], said["Secret"]
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Retryable(f"{program}: expected JSON with Username and Secret") from None
    if user == "<token>":
        return {"identitytoken": secret, "serveraddress": key}
    return {"username": user, "password": secret, "serveraddress": key}
