"""The recipe: what a catalog says of a service's containers."""

from __future__ import annotations

import re
from datetime import timedelta
from enum import StrEnum
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, ConfigDict, Field, model_validator

from adapters.deployers.docker.compose import inlined
from schemas.base import Duration, Model, SomeDuration
from schemas.deployment import Config
from schemas.outside import is_secret

_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)i?b?", re.IGNORECASE)
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30}
_LEAST_MEMORY: Final = 6 << 20
_PLACE: Final = "{version}"


def size(text: str) -> int:
    """Bytes of a size such as `256m` or `1.5g`.

    Raises:
        ValueError: it is none.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"expected a size such as 256m or 1g, got {text!r}")
    return int(float(found[1]) * _UNITS[found[2].lower()])


def _memory(text: str) -> str:
    if size(text) < _LEAST_MEMORY:
        raise ValueError("expected at least 6m: Docker takes no less")
    return text


def _image(text: str) -> str:
    if text.count("{") != text.count(_PLACE) or text.count("}") != text.count(_PLACE):
        raise ValueError(f"expected {_PLACE} as the only name in braces")
    return text


Size = Annotated[str, Field(max_length=20), AfterValidator(lambda text: (size(text), text)[1])]
MemorySize = Annotated[str, Field(max_length=20), AfterValidator(_memory)]
Words = Annotated[tuple[Annotated[str, Field(max_length=4_096)], ...], Field(max_length=100)]
SecretName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,99}$")]
NetworkName = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,127}$")]
Mount = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9_./][^:\s]*:/[^:\s]*(:(ro|rw))?$",
        max_length=500,
        description="volume:/path or /path of the host:/path, with :ro to only read.",
    ),
]
Target = Annotated[str, Field(pattern=r"^/[^:\s]{0,400}$", description="A folder of tmpfs.")]


class Reach(StrEnum):
    """How a router reaches an instance; a closed set."""

    HOST = "host"
    """By a port of the host, which stays the instance's while it lives."""
    NAME = "name"
    """By the container's name, for a router in the same Docker network."""
    ADDRESS = "address"
    """By the container's IP address, which may be another after a restart."""


class HealthCheck(Model):
    """Docker's own check, in place of the image's."""

    test: Words = Field(min_length=1, description="A command; exit code 0: it is healthy.")
    interval: SomeDuration = timedelta(seconds=2)
    timeout: SomeDuration = timedelta(seconds=5)
    start_period: Duration = timedelta(seconds=30)
    retries: int = Field(default=3, ge=1, le=1_000)


class HttpProbe(Model):
    """A request that Aviary sends to each instance, for images without a check of their own."""

    path: str = Field(default="/", pattern=r"^/[\x21-\x7e]{0,500}$")
    timeout: SomeDuration = timedelta(seconds=2)
    start_period: Duration = Field(
        default=timedelta(seconds=30), description="Until then a no is only patience."
    )


class Logging(Model):
    """Where containers log to."""

    driver: str = Field(pattern=r"^[a-z0-9][a-z0-9_./:-]{0,100}$")
    options: Annotated[dict[str, Annotated[str, Field(max_length=1_000)]], Field(max_length=50)] = (
        Field(default_factory=dict)
    )


class DockerOptions(Model):
    """How a version's containers are made. Secrets are named here, and never written here."""

    model_config = ConfigDict(
        json_schema_extra={"anyOf": [{"required": ["compose"]}, {"required": ["port"]}]}
    )

    compose: str | None = Field(
        default=None,
        max_length=1_000,
        description="A service of a compose file, as in ./compose.yaml#checkout, whose settings "
        "are taken as the catalog is read; what stands beside it wins.",
    )
    image: Annotated[str, AfterValidator(_image)] | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9{][A-Za-z0-9._/:@{}-]{0,499}$",
        description="{version} stands for the version; a deploy event may name another image.",
    )
    pull: str = Field(
        default="missing", pattern="^(missing|always|never)$", description="When it is pulled."
    )
    port: int = Field(ge=1, le=65_535, description="Where the container takes requests.")
    reach: Reach = Field(default=Reach.HOST, description="How routers reach an instance.")
    networks: Annotated[tuple[NetworkName, ...], Field(max_length=20)] = Field(
        default=(), description="Networks that there are; the first is the one for requests."
    )
    entrypoint: Words | None = None
    command: Words | None = None
    user: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9_.-]{1,64}(:[A-Za-z0-9_.-]{1,64})?$"
    )
    working_dir: str | None = Field(default=None, pattern=r"^/[^\x00\n]{0,400}$")
    environment: Config = Field(default_factory=dict)
    secret_env: Annotated[
        dict[Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")], SecretName],
        Field(max_length=50),
    ] = Field(default_factory=dict, description="Variable: name of a secret of the connection.")
    secret_files: Annotated[tuple[SecretName, ...], Field(max_length=50)] = Field(
        default=(), description="Secrets that are files below /run/secrets."
    )
    health: HealthCheck | None = None
    probe: HttpProbe | None = None
    memory: MemorySize | None = None
    cpus: float | None = Field(default=None, gt=0, le=1_024)
    pids: int | None = Field(default=None, ge=1, le=1_000_000)
    restart: str = Field(
        default="unless-stopped", pattern=r"^(no|always|unless-stopped|on-failure(:\d{1,4})?)$"
    )
    logging: Logging | None = None
    mounts: Annotated[tuple[Mount, ...], Field(max_length=50)] = ()
    tmpfs: Annotated[tuple[Target, ...], Field(max_length=50)] = ()
    read_only: bool = False
    init: bool = False
    cap_add: Annotated[tuple[Annotated[str, Field(pattern="^[A-Z_]{2,40}$")], ...], Field()] = ()
    cap_drop: Annotated[tuple[Annotated[str, Field(pattern="^[A-Z_]{2,40}$")], ...], Field()] = ()
    no_new_privileges: bool = False
    shm_size: Size | None = None
    hosts: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[A-Za-z0-9.-]{1,253}$")],
            Annotated[str, Field(pattern=r"^([0-9a-fA-F.:]+|host-gateway)$")],
        ],
        Field(max_length=100),
    ] = Field(default_factory=dict, description="Further names and their addresses.")
    labels: Annotated[
        dict[
            Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_./-]{0,199}$")],
            Annotated[str, Field(max_length=2_000)],
        ],
        Field(max_length=100),
    ] = Field(default_factory=dict)
    stop_signal: str | None = Field(default=None, pattern=r"^(SIG)?[A-Z0-9+]{2,12}$")
    stop_grace: SomeDuration = Field(
        default=timedelta(seconds=10), description="From SIGTERM to SIGKILL, in whole seconds."
    )

    @model_validator(mode="before")
    @classmethod
    def _of_compose(cls, value: Any) -> Any:
        return inlined(value) if isinstance(value, dict) and value.get("compose") else value

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.reach is Reach.NAME and not self.networks:
            raise ValueError("reach: expected networks beside name: only there a name is known")
        for name in {"host", "none"}.intersection(self.networks):
            raise ValueError(
                f"networks: expected those in which each instance has its own address, got {name!r}"
            )
        for name in self.environment:
            if is_secret(name) and self.environment[name]:
                raise ValueError(f"environment: {name}: expected in secret_env, by name")
        for name in self.labels:
            if name.startswith("aviary."):
                raise ValueError(f"labels: expected names that are not Aviary's own, got {name!r}")
        return self

    def image_of(self, version: str) -> str | None:
        """The image of a version, as the recipe says."""
        return self.image.replace(_PLACE, version) if self.image else None
