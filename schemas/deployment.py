"""One version of a service on its platform: what is wanted of it, and how its instances are.

Here belongs what goes between a canary and a deployer (`adapters.ports.deploying`). What a catalog
says of a recipe is its kind's.
"""

from __future__ import annotations

import hashlib
import json
from enum import StrEnum
from typing import Annotated, Any, Final

from pydantic import Field, JsonValue

from schemas.base import Model, ReleaseId, ServiceName, Version
from schemas.outside import Name, Text

INSTANCES_MOST: Final = 1_000
"""Instances of one version."""
CONFIG_MOST: Final = 100
"""Settings of one version that a deploy event may carry."""

Count = Annotated[int, Field(ge=0, le=INSTANCES_MOST, description="Instances.")]
Generation = Annotated[
    int,
    Field(
        ge=0,
        description="Grows with every order about a service's versions; a deployer refuses a "
        "smaller one than it has obeyed (fencing).",
    ),
]
Config = Annotated[
    dict[
        Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]{0,99}$")],
        Annotated[str, Field(max_length=4_096)],
    ],
    Field(max_length=CONFIG_MOST, description="Environment variables; no secrets."),
]
ImageName = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._/:@-]{0,499}$",
        description="An image by tag or digest, as `docker pull` takes it.",
    ),
]


class Endpoint(Model):
    """Where one instance takes requests."""

    host: str = Field(pattern=r"^[A-Za-z0-9._:-]{1,253}$", description="A name or an IP address.")
    port: int = Field(ge=1, le=65_535)

    def __str__(self) -> str:
        """As `host:port`; an address of IPv6 stands in brackets."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{host}:{self.port}"


class Endpoints(Model):
    """Where the instances of a version take requests, as a router was told."""

    endpoints: tuple[Endpoint, ...] = Field(max_length=INSTANCES_MOST)
    generation: Generation = 0


class WantedVersion(Model):
    """A version as a deployer shall have it."""

    service: ServiceName
    version: Version
    release: ReleaseId = Field(description="Who wants it; written on all that is made.")
    generation: Generation
    instances: Count = 1
    image: ImageName | None = Field(
        default=None, description="As the deploy event says; None: as the recipe says."
    )
    config: Config = Field(default_factory=dict)
    recipe: dict[str, JsonValue] = Field(
        default_factory=dict,
        description="The options of the deployer's kind, as the plan has them.",
    )

    @property
    def digest(self) -> str:
        """Of the order, as 16 hexadecimal digits: the same order has the same."""
        return _digest(self.model_dump(mode="json"))

    @property
    def made_of(self) -> str:
        """Of what an instance is made of, likewise: an instance of another one is replaced."""
        parts = {"image", "config", "recipe"}
        return _digest(self.model_dump(mode="json", include=parts))


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


class InstanceState(StrEnum):
    """How one instance is; a closed set."""

    STARTING = "starting"
    """Pulled, scheduled, made or begun, and not ready yet."""
    READY = "ready"
    """It takes requests, as its own check says."""
    NOT_READY = "not_ready"
    """It was ready, and its check fails now."""
    FAILED = "failed"
    """It has ended, or can't begin."""
    DRAINING = "draining"
    """It is being taken down."""


class Trouble(StrEnum):
    """Why instances are not ready, where it is known; a closed set."""

    IMAGE_MISSING = "image_missing"
    PULL_FAILED = "pull_failed"
    CRASH_LOOP = "crash_loop"
    OUT_OF_MEMORY = "out_of_memory"
    PROBE_FAILED = "probe_failed"
    QUOTA = "quota"
    """The platform allows no more."""
    NO_SPACE = "no_space"
    """The platform's disk is full."""
    NAME_TAKEN = "name_taken"
    """Something that is not Aviary's has the name, or the port."""
    WRONG_RECIPE = "wrong_recipe"
    """The platform refuses what the recipe says."""
    OTHER = "other"


class Instance(Model):
    """One instance of a version."""

    name: Name = Field(description="The platform's: a container, a pod, a process.")
    state: InstanceState
    endpoint: Endpoint | None = Field(default=None, description="None: not known yet.")
    text: Text = Field(default="", description="Its own words: last lines of its log, a reason.")


class VersionState(Model):
    """One version of a service, as the platform has it."""

    service: ServiceName
    version: Version
    release: str = Field(default="", description="Who made it.")
    generation: Generation = 0
    wanted: Count = 0
    instances: tuple[Instance, ...] = Field(default=(), max_length=INSTANCES_MOST)
    trouble: Trouble | None = None
    text: Text = Field(default="", description="A sentence on the trouble: which, and why.")
    order: WantedVersion | None = Field(
        default=None, description="What made it so, where the platform remembers that."
    )

    @property
    def ready(self) -> int:
        """Instances that take requests."""
        return sum(one.state is InstanceState.READY for one in self.instances)

    @property
    def endpoints(self) -> tuple[Endpoint, ...]:
        """Where the ready instances take requests, in the order of their names."""
        return tuple(
            one.endpoint
            for one in sorted(self.instances, key=lambda one: one.name)
            if one.state is InstanceState.READY and one.endpoint is not None
        )

    @property
    def sentence(self) -> str:
        """For a person: `2 of 5 instances of checkout 1.4.2 are ready; <trouble>`."""
        verb = "is" if self.wanted == 1 else "are"
        plural = "instance" if self.wanted == 1 else "instances"
        text = f"{self.ready} of {self.wanted} {plural} of {self.service} {self.version} {verb}"
        return f"{text} ready{f'; {self.text}' if self.text else ''}"


class OneOff(Model):
    """A command that is run to its end beside a version: a hook, a migration."""

    key: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,200}$")] = Field(
        description="Its identity: the same key is one run, however often it is asked for."
    )
    wanted: WantedVersion = Field(description="Whose image, configuration and recipe it has.")
    command: tuple[str, ...] = Field(min_length=1, max_length=100)


class OneOffEnd(Model):
    """How a command ended."""

    exit_code: int = Field(description="0 is success; 128 + n: ended by signal n.")
    lines: tuple[Text, ...] = Field(
        default=(), max_length=50, description="The last lines of its output."
    )
