"""Settings: the one place that reads the environment (`AVIARY_…`)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path

from pydantic import Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

OTHER_VARIABLES = frozenset({"AVIARY_CACHE"})
"""Variables of the embedded stack's installation, which is no setting of a process."""


class SettingsError(ValueError):
    """A setting is wrong; the text names the variable, the value and what is expected."""


class Settings(BaseSettings):
    """What differs between one installation and another. Every field is `AVIARY_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="AVIARY_", frozen=True, extra="forbid")

    catalog: Path = Field(default=Path("catalog.yaml"), description="The catalog document.")

    temporal_address: str = Field(default="127.0.0.1:7233", description="host:port of Temporal.")
    temporal_namespace: str = Field(default="default")
    temporal_api_key: SecretStr | None = Field(default=None, description="For Temporal Cloud.")
    temporal_tls: bool = Field(default=False, description="Use TLS with the system's authorities.")
    task_queue: str = Field(
        default="aviary", min_length=1, description="Workflow queue, and prefix of the others."
    )

    kafka_bootstrap: str = Field(
        default="127.0.0.1:9092", description="host:port, comma-separated."
    )
    kafka_group: str = Field(default="aviary-bridge", description="Consumer group of the bridge.")
    kafka_idempotent: bool = Field(
        default=True, description="Idempotent producer; off for brokers that have none."
    )
    topic_partitions: int = Field(default=12, ge=1, le=1000)
    topic_replication: int = Field(default=1, ge=1, le=10)

    prometheus_url: str = Field(default="http://127.0.0.1:9090")
    prometheus_timeout_s: float = Field(default=10.0, gt=0, le=300)
    alertmanager_url: str | None = Field(
        default=None, description="Asked before a canary starts; no preflight when not set."
    )

    webhook_host: str = Field(default="127.0.0.1")
    webhook_port: int = Field(default=8088, ge=0, le=65535)
    webhook_token: SecretStr | None = Field(default=None, description="Bearer token demanded.")
    webhook_max_body: int = Field(default=1_048_576, ge=1024, description="Bytes.")
    metrics_host: str = Field(default="127.0.0.1")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Health and metrics; 0: a free port."
    )

    router_slots: int = Field(default=50, ge=1, description="Router writes at the same time.")
    judging_slots: int = Field(default=1000, ge=1, description="Bakes at the same time.")
    drift_every_s: int = Field(
        default=60,
        ge=1,
        le=86_400,
        description="Seconds between two checks for canaries that nobody looks after.",
    )
    log_format: str = Field(default="auto", pattern="^(auto|console|json)$")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")


def load_settings(**overrides: object) -> Settings:
    """Read the settings; `overrides` (from the command line) win over the environment.

    Raises:
        SettingsError: one line for each wrong setting.
    """
    _no_unknown_variables(os.environ)
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        return Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"AVIARY_{'_'.join(str(part) for part in problem['loc']).upper()}: "
            f"{_shown(problem)}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from None


def _no_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {f"AVIARY_{field.upper()}" for field in Settings.model_fields} | OTHER_VARIABLES
    unknown = sorted(
        name for name in environment if name.startswith("AVIARY_") and name not in known
    )
    if unknown:
        nearest = get_close_matches(unknown[0], known, n=1)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise SettingsError(f"{', '.join(unknown)}: there is no such setting{hint}")


def _shown(problem: object) -> str:
    """The wrong value, unless it is one that must stay secret."""
    assert isinstance(problem, dict)  # noqa: S101 - narrows pydantic's typed dict
    name = str(problem["loc"][0]) if problem["loc"] else ""
    secret = any(word in name for word in ("token", "key", "password", "secret"))
    return "(hidden)" if secret else repr(problem.get("input"))
