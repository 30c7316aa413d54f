"""Starts and ends what runs in a folder: an instance, or a command. Everything here blocks."""

from __future__ import annotations

import os
import secrets
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from adapters.deployers.process.pids import MARK, marked, members, send
from adapters.deployers.process.probing import HOST
from adapters.deployers.process.recipe import ProcessRecipe, environment_of
from adapters.deployers.process.store import Folder, Store
from adapters.errors import Retryable
from schemas.deployment import WantedVersion

_SUPERVISE: Final = Path(__file__).with_name("supervise.py")
_START_WITHIN: Final = 60.0
_AFTER_GRACE: Final = 5.0
"""Seconds that a supervisor may take beyond the grace of its instance."""
_POLL: Final = 0.02


def spec_of(
    wanted: WantedVersion,
    recipe: ProcessRecipe,
    labels: Mapping[str, str],
    *,
    port: int = 0,
    command: Iterable[str] | None = None,
) -> dict[str, Any]:
    """What a supervisor is told; secrets are only named.

    Args:
        wanted: whose instance or command it is.
        recipe: of the order.
        labels: written on it, as variables of its environment.
        port: of an instance; 0 for a command.
        command: another one than the recipe's, which is run once.
    """
    values = {
        "port": str(port),
        "host": HOST,
        "service": wanted.service,
        "version": wanted.version,
    }
    asked = recipe if command is None else recipe.model_copy(update={"command": tuple(command)})
    own = {**recipe.env, **wanted.config, **labels, **({"PORT": str(port)} if port else {})}
    return {
        "command": asked.filled(values) if command is None else list(asked.command),
        "cwd": recipe.cwd,
        "env": environment_of(own, os.environ),
        "env_from": recipe.env_from,
        "grace": recipe.grace.total_seconds(),
        "once": command is not None,
        "port": port,
        "made_of": wanted.made_of,
        "service": wanted.service,
        "version": wanted.version,
        "release": wanted.release,
        "made_at": time.time(),
    }


def free_port(ports: range, taken: set[int]) -> int | None:
    """A port that nobody listens on and no instance has; None where there is none."""
    # Not the first ones always: others on this machine look for ports, too.
    begin = secrets.randbelow(len(ports))
    for at in range(len(ports)):
        port: int = ports[(begin + at) % len(ports)]
        if port not in taken and is_free(port):
            return port
    return None


def is_free(port: int) -> bool:
    """Whether nobody listens on a port."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def start(folder: Folder, spec: Mapping[str, Any]) -> None:
    """Start what a folder is for; returns once its supervisor has begun.

    Raises:
        Retryable: it could not be started.
    """
    mark = str(folder.path)
    env = {**spec["env"], MARK: mark}
    Store.make(folder, {**spec, "env": env})
    words = [sys.executable, "-I", "-S", str(_SUPERVISE), mark]
    try:
        subprocess.run(  # noqa: S603 - our own program
            words,
            env={MARK: mark},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
            timeout=_START_WITHIN,
            check=True,
        )
    except (OSError, subprocess.SubprocessError) as error:
        if folder.has("status.json"):
            return
        raise Retryable(f"{folder.path}: its supervisor did not begin: {error}") from error


def end(folder: Folder) -> None:
    """End what runs in a folder, and all that it has started, and take the folder away.

    It is told to (SIGTERM), has its grace, and is then killed: by its supervisor, or where that is
    gone, from here.
    """
    status, grace = folder.status(), float(folder.spec().get("grace", 0.0))
    deadline = time.monotonic() + grace + _AFTER_GRACE
    if send(status.supervisor, status.supervisor_since, signal.SIGTERM):
        while status.is_supervised and time.monotonic() < deadline:
            time.sleep(_POLL)
    elif send(status.pid, status.since, signal.SIGTERM):
        deadline -= _AFTER_GRACE
        while status.runs and time.monotonic() < deadline:
            time.sleep(_POLL)
    send(status.supervisor, status.supervisor_since, signal.SIGKILL)
    _kill_all(folder)
    folder.remove()


def _kill_all(folder: Folder) -> None:
    """Kill what is left of it: by its mark, and by its group where it has hidden the mark."""
    status = folder.status()
    for _ in range(10):  # what is being started while we look is found by the next look
        group = status.pid
        left = set(marked(str(folder.path)))
        left |= set(members(group, status.since)) if group is not None and status.runs else set()
        if not left:
            return
        for pid, since in left:
            send(pid, since, signal.SIGKILL)
        time.sleep(_POLL)
