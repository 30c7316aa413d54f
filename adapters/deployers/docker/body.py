"""What the Engine API is told of a container: the recipe, the event and the secrets in one."""

from __future__ import annotations

import ipaddress
import json
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Final

from pydantic import ValidationError

from adapters.deployers.docker import labels
from adapters.deployers.docker.connection import DockerConnection
from adapters.deployers.docker.options import DockerOptions, Reach, size
from adapters.errors import Retryable, Terminal
from adapters.secrets import Secret
from schemas.deployment import WantedVersion

SECRETS: Final = "/run/secrets"
_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_NANO: Final = 1_000_000_000


@dataclass(frozen=True)
class Recipe:
    """A version as its containers are made."""

    wanted: WantedVersion
    options: DockerOptions
    image: str
    secrets: Mapping[str, str] = field(repr=False)
    """By their names."""

    def hide(self, text: str) -> str:
        """The text without any of its secrets."""
        return _without(text, self.secrets.values())

    @property
    def files(self) -> dict[str, str]:
        """What lies below /run/secrets."""
        return {name: self.secrets[name] for name in self.options.secret_files}


def recipe_of(wanted: WantedVersion, connection: DockerConnection) -> Recipe:
    """Read a recipe, and the secrets that it names.

    Raises:
        Terminal: it does not fit, or says no image.
        Retryable: a secret can't be read; names its file.
    """
    try:
        options = DockerOptions.model_validate(wanted.recipe)
    except ValidationError as error:
        what = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        raise Terminal(f"{wanted.service}: recipe: {what[:1_500]}") from None
    image = wanted.image or options.image_of(wanted.version)
    if image is None:
        raise Terminal(f"{wanted.service} {wanted.version}: expected an image, of recipe or event")
    names = {*options.secret_env.values(), *options.secret_files}
    return Recipe(wanted, options, image, {name: _secret(name, connection) for name in names})


def _secret(name: str, connection: DockerConnection) -> str:
    if not _NAME.fullmatch(name):
        raise Retryable(f"secret {name[:100]!r}: expected the name of a file")
    folder = connection.secrets_directory
    if folder is None:
        raise Retryable(f"secret {name}: expected secrets_directory in the connection")
    return Secret(file=Path(folder) / name, is_password=True).read()


def body_of(
    recipe: Recipe, owner: str, number: int, address: str, host_port: int | None
) -> dict[str, Any]:
    """The body of `POST /containers/create` for one instance.

    Args:
        recipe: of the version.
        owner: whose it is.
        number: of the instance, from 1.
        address: where published ports are reached.
        host_port: its port of the host; None where routers reach it otherwise.
    """
    options = recipe.options
    port = f"{options.port}/tcp"
    body = _common(recipe)
    body["ExposedPorts"] = {port: {}}
    if host_port is not None:
        binding = {"HostIp": _host_ip(address), "HostPort": str(host_port)}
        body["HostConfig"]["PortBindings"] = {port: [binding]}
    policy, _, most = options.restart.partition(":")
    body["HostConfig"]["RestartPolicy"] = {"Name": policy, "MaximumRetryCount": int(most or 0)}
    if options.health is not None:
        check = options.health
        body["Healthcheck"] = {
            "Test": ["CMD", *check.test],
            "Interval": _nanoseconds(check.interval),
            "Timeout": _nanoseconds(check.timeout),
            "StartPeriod": _nanoseconds(check.start_period),
            "Retries": check.retries,
        }
    body["Labels"] = {
        **options.labels,
        **labels.of(labels.INSTANCE_KIND, owner, recipe.wanted),
        labels.INSTANCE: str(number),
        labels.PORT: str(options.port),
        labels.REACH: options.reach.value,
        labels.HOST_PORT: str(host_port or 0),
        labels.SECRETS: ",".join(sorted(recipe.secrets)),
        labels.RECIPE: recipe.wanted.made_of,
        _PROBE: json.dumps(_probe(options)),
    }
    return body


def run_body(recipe: Recipe, owner: str, key: str, command: tuple[str, ...]) -> dict[str, Any]:
    """The same for a command that is run to its end, once."""
    body = _common(recipe)
    body["Entrypoint"], body["Cmd"] = [command[0]], list(command[1:])
    body["Healthcheck"] = {"Test": ["NONE"]}
    body["HostConfig"]["RestartPolicy"] = {"Name": "no", "MaximumRetryCount": 0}
    body["Labels"] = {
        **recipe.options.labels,
        **labels.of(labels.RUN_KIND, owner, recipe.wanted),
        labels.KEY: key,
    }
    return body


def hider_of(container: Mapping[str, Any], connection: DockerConnection) -> Callable[[str], str]:
    """What hides the secrets that a container was given, where they are still known."""
    secrets: list[str] = []
    for name in filter(None, labels.labels_of(container).get(labels.SECRETS, "").split(",")):
        try:
            secrets.append(_secret(name, connection))
        except Retryable:
            continue  # nobody has it any more
    return lambda text: _without(text, secrets)


def _without(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        if len(secret) > 3:  # noqa: PLR2004 - a shorter one is everywhere
            text = text.replace(secret, "(hidden)")
    return text


_PROBE: Final = "aviary.probe"


def probe_of(said: Mapping[str, str]) -> dict[str, Any] | None:
    """The probe that a container was made with; None: Docker's own check holds, or none does."""
    try:
        found = json.loads(said.get(_PROBE, "null"))
    except ValueError:
        return None
    return found if isinstance(found, dict) else None


def _probe(options: DockerOptions) -> dict[str, Any] | None:
    probe = options.probe
    if probe is None:
        return None
    return {
        "path": probe.path,
        "timeout": probe.timeout.total_seconds(),
        "start": probe.start_period.total_seconds(),
    }


def _common(recipe: Recipe) -> dict[str, Any]:
    options = recipe.options
    secret = {name: recipe.secrets[of] for name, of in options.secret_env.items()}
    environment = {**options.environment, **recipe.wanted.config, **secret}
    said: dict[str, Any] = {
        "Image": recipe.image,
        "Env": [f"{name}={value}" for name, value in environment.items()],
        "Entrypoint": _list(options.entrypoint),
        "Cmd": _list(options.command),
        "User": options.user,
        "WorkingDir": options.working_dir,
        "StopSignal": options.stop_signal,
    }
    body = {name: value for name, value in said.items() if value is not None}
    body["StopTimeout"] = grace_s(options)
    body["HostConfig"] = _host_config(options)
    return body


def _host_config(options: DockerOptions) -> dict[str, Any]:
    memory = size(options.memory) if options.memory else None
    said: dict[str, Any] = {
        "Memory": memory,
        "MemorySwap": memory,  # or as much swap again: slow, and not out of memory
        "NanoCpus": int(options.cpus * _NANO) if options.cpus else None,
        "PidsLimit": options.pids,
        "ShmSize": size(options.shm_size) if options.shm_size else None,
        "NetworkMode": options.networks[0] if options.networks else None,
        "Binds": list(options.mounts) or None,
        "Tmpfs": dict.fromkeys(options.tmpfs, "") or None,
        "ReadonlyRootfs": options.read_only or None,
        "Init": options.init or None,
        "CapAdd": list(options.cap_add) or None,
        "CapDrop": list(options.cap_drop) or None,
        "SecurityOpt": ["no-new-privileges"] if options.no_new_privileges else None,
        "ExtraHosts": [f"{name}:{to}" for name, to in options.hosts.items()] or None,
    }
    if options.logging is not None:
        said["LogConfig"] = {"Type": options.logging.driver, "Config": options.logging.options}
    if options.secret_files:
        # An anonymous volume: files can be put there even if the container's own disk is read-only.
        said["Mounts"] = [{"Type": "volume", "Target": SECRETS}]
    return {name: value for name, value in said.items() if value is not None}


def grace_s(options: DockerOptions) -> int:
    """Whole seconds, which is all that Docker knows."""
    return max(1, math.ceil(options.stop_grace.total_seconds()))


def needs_port(options: DockerOptions) -> bool:
    """Whether an instance gets a port of the host."""
    return options.reach is Reach.HOST


def _list(words: tuple[str, ...] | None) -> list[str] | None:
    return None if words is None else list(words)


def _nanoseconds(length: timedelta) -> int:
    return int(length.total_seconds() * _NANO)


def _host_ip(address: str) -> str:
    """Published on that address alone, where it is one."""
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        return ""
