"""Settings: the one place that reads the environment (`AVIARY_…`)."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Final, Literal

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic_settings import SettingsConfigDict

from adapters.kafka_options import KafkaSecurity, SaslMechanism
from aviary.access_settings import AccessSettings, problems, variable
from schemas.cdevents_out import CdVersion
from schemas.ids import CELL_PATTERN, KINDS, Cell, main_queue
from schemas.outside import hide_user

OTHER_VARIABLES = frozenset(
    {
        *("AVIARY_CACHE", "AVIARY_PORTS"),
        *("AVIARY_SERVER", "AVIARY_TOKEN", "AVIARY_TOKEN_FILE", "AVIARY_AUDIENCE"),
    }
)
"""Variables of the embedded stack and of `aviary deploy`, which are no settings of a process."""


_ADDRESS = r"^[^\s:/,]+:[0-9]{1,5}$|^\[[0-9a-fA-F:]+\]:[0-9]{1,5}$"
_ADDRESSES = (
    r"^([^\s:/,]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5}(,([^\s:/,]+|\[[0-9a-fA-F:]+\]):[0-9]{1,5})*$"
)

_URL = r"^https?://[^\s?#]+$"


BUILD_AUTO: Final = "auto"
BUILD_OFF: Final = "off"


class SettingsError(ValueError):
    """A setting is wrong; the text names the variable, the value and what is expected."""


class Settings(AccessSettings):
    """What differs between one installation and another. Every field is `AVIARY_<FIELD>`."""

    model_config = SettingsConfigDict(env_prefix="AVIARY_", frozen=True, extra="forbid")

    catalog: Path = Field(default=Path("catalog.yaml"), description="The catalog document.")

    temporal_address: str = Field(
        default="127.0.0.1:7233", pattern=_ADDRESS, description="host:port of Temporal."
    )
    temporal_namespace: str = Field(default="default", min_length=1)
    cell: str = Field(
        default="",
        pattern=rf"^$|{CELL_PATTERN}",
        description="Name of this installation where several share a Temporal namespace.",
    )
    task_queue: str = Field(
        default="aviary", min_length=1, description="Workflow queue, and prefix of the others."
    )

    build_id: str = Field(
        default=BUILD_AUTO,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._+-]{0,99}$",
        description="Which build a worker is; auto: by its code; off: no worker versioning.",
    )
    deployment: str | None = Field(
        default=None,
        pattern=r"^[A-Za-z0-9][A-Za-z0-9_-]{0,99}$",
        description="Name of Temporal's Worker Deployment; the task queue's when not set.",
    )
    build_promotion: Literal["automatic", "manual"] = Field(
        default="automatic",
        description="Whether a new build's first worker makes it the current one.",
    )
    build_gone_s: int = Field(
        default=300,
        ge=30,
        le=86_400,
        description="Seconds without a worker after which a build's releases go back that no "
        "other build can go on with.",
    )

    kafka_bootstrap: str = Field(
        default="127.0.0.1:9092", pattern=_ADDRESSES, description="host:port, comma-separated."
    )
    kafka_group: str = Field(default="aviary-bridge", description="Consumer group of the bridge.")
    kafka_idempotent: bool = Field(
        default=True, description="Idempotent producer; off for brokers that have none."
    )
    kafka_security: KafkaSecurity = Field(default="PLAINTEXT")
    kafka_sasl_mechanism: SaslMechanism = Field(default="SCRAM-SHA-512")
    kafka_sasl_user: str | None = Field(default=None, min_length=1)
    kafka_sasl_password: SecretStr | None = Field(default=None, min_length=1)
    kafka_ca_file: Path | None = Field(
        default=None, description="Authorities, PEM; the system's when not set."
    )
    topic_partitions: int = Field(default=12, ge=1, le=1000)
    topic_replication: int = Field(default=1, ge=1, le=10)

    connections_file: Path | None = Field(
        default=None, description="YAML: addresses and credentials of platforms, by name."
    )
    metrics_source: str = Field(
        default="prometheus", description="What answers the judge: a kind of metrics source."
    )
    metrics_connection: str | None = Field(
        default=None, description="Its connection, in place of AVIARY_PROMETHEUS_URL and the like."
    )
    metrics_late_s: float = Field(
        default=60.0,
        ge=1,
        le=600,
        description="Longest time from a request until the metrics source counts it, in seconds: "
        "an interval of gathering, and what that takes.",
    )
    prometheus_url: str = Field(
        default="http://127.0.0.1:9090", description="Address of the metrics source."
    )
    prometheus_timeout_s: float = Field(default=10.0, gt=0, le=300)
    alertmanager_url: str | None = Field(
        default=None,
        description="Asked before a canary starts, and after a loss of alerts; no preflight when "
        "not set, and a loss pauses.",
    )

    deploy_max_age_s: int = Field(
        default=86_400,
        ge=0,
        description="Deploy events older than so many seconds are not acted upon; 0: no limit.",
    )

    watch_connection: str | None = Field(
        default=None,
        min_length=1,
        description="Where templates are: a connection of kind kubernetes; the pod's own cluster "
        "and namespace when not set.",
    )
    watch_quiet_s: float = Field(
        default=5.0,
        ge=0,
        le=3600,
        description="Seconds without another changed template after which those before go out.",
    )
    watch_longest_s: float = Field(
        default=60.0,
        ge=0,
        le=86_400,
        description="Seconds that a changed template waits for others at most.",
    )
    watch_revision: str = Field(
        default="aviary.dev/revision",
        pattern=r"^[A-Za-z0-9./_-]{1,300}(,[A-Za-z0-9./_-]{1,300}){0,9}$",
        description="Annotations of templates that name a commit, comma-separated.",
    )

    webhook_host: str = Field(default="127.0.0.1")
    webhook_port: int = Field(default=8088, ge=0, le=65535)
    webhook_max_body: int = Field(
        default=32 * 1024 * 1024, ge=1024, description="Bytes; 10,000 alerts of 3 kB each."
    )
    callers_file: Path | None = Field(
        default=None,
        description="YAML: who may call the webhook, by token, with which roles; without it nobody "
        "may ask about releases there.",
    )
    webhook_rate: float = Field(
        default=20.0,
        gt=0,
        le=10_000,
        description="Requests a second that one caller of that file may make, alerts apart.",
    )
    metrics_host: str = Field(default="127.0.0.1")
    metrics_port: int = Field(
        default=0, ge=0, le=65535, description="Health and metrics; 0: a free port."
    )

    temporal_ui_url: str | None = Field(
        default=None, pattern=_URL, description="Temporal's UI, for links in notices."
    )
    report_dir: Path | None = Field(
        default=None, description="Folder for the reports of releases; none when not set."
    )
    report_url: str | None = Field(
        default=None, pattern=_URL, description="Where the reports are served, for links."
    )
    notify_channels: SecretStr | None = Field(
        default=None, description="Lines `channel = Apprise URL`; URLs hold secrets."
    )
    notify_file: Path | None = Field(
        default=None, description="A file of such lines, in place of AVIARY_NOTIFY_CHANNELS."
    )
    hook_answer_url: str | None = Field(
        default=None,
        pattern=_URL,
        description="Where hooks reach the webhook's /hooks/answer, told to them with each call.",
    )
    cdevents: bool = Field(default=True, description="Publish CDEvents beside Aviary's own.")
    cdevents_version: CdVersion = Field(
        default=CdVersion.V0_4, description="Of which version of CDEvents they are."
    )

    router_slots: int = Field(default=50, ge=1, description="Router writes at the same time.")
    judging_slots: int = Field(default=1000, ge=1, description="Bakes at the same time.")
    cached_runs: int = Field(
        default=1000,
        ge=1,
        description="Releases and canaries kept in memory; a word to another one costs its replay.",
    )
    drift_every_s: int = Field(
        default=60,
        ge=1,
        le=86_400,
        description="Seconds between two checks for canaries that nobody looks after.",
    )
    log_format: str = Field(default="auto", pattern="^(auto|console|json)$")
    log_level: str = Field(default="info", pattern="^(debug|info|warning|error)$")

    @field_validator("cell")
    @classmethod
    def _no_kind(cls, value: str) -> str:
        if value in KINDS:
            raise ValueError(f"expected another name than {', '.join(KINDS)}")
        return value

    @property
    def in_cell(self) -> Cell:
        """The cell of this installation."""
        return Cell(self.cell)

    @property
    def watch_revisions(self) -> tuple[str, ...]:
        """Annotations that name a commit; the first that a template has counts."""
        return tuple(self.watch_revision.split(","))

    @property
    def main_queue(self) -> str:
        """The task queue of workflows and router writes; the prefix of the others."""
        return main_queue(self.task_queue, self.in_cell)

    @field_validator("notify_file")
    @classmethod
    def _one_of_both(cls, value: Path | None, info: ValidationInfo) -> Path | None:
        if value is not None and info.data.get("notify_channels") is not None:
            raise ValueError("expected none, since AVIARY_NOTIFY_CHANNELS is set")
        return value


def load_settings(**overrides: object) -> Settings:
    """Read the settings; `overrides` (from the command line) win over the environment.

    Raises:
        SettingsError: one line for each wrong setting.
    """
    _no_unknown_variables(os.environ)
    given = {name: value for name, value in overrides.items() if value is not None}
    try:
        settings = Settings(**given)  # type: ignore[arg-type]
    except ValidationError as error:
        lines = [
            f"AVIARY_{'_'.join(str(part) for part in problem['loc']).upper()}: "
            f"{_shown(problem)}: {problem['msg']}"
            for problem in error.errors()
        ]
        raise SettingsError("\n".join(lines)) from None
    if wrong := [f"{variable(name)}: {text}" for name, text in problems(settings)]:
        raise SettingsError("\n".join(wrong))
    return settings


def _no_unknown_variables(environment: Mapping[str, str]) -> None:
    known = {f"AVIARY_{field.upper()}" for field in Settings.model_fields} | OTHER_VARIABLES
    unknown = sorted(
        name for name in environment if name.startswith("AVIARY_") and name not in known
    )
    if unknown:
        nearest = get_close_matches(unknown[0], known, n=1, cutoff=0.8)
        hint = f"; did you mean {nearest[0]}?" if nearest else ""
        raise SettingsError(f"{', '.join(unknown)}: there is no such setting{hint}")


_MAY_HIDE: Final = re.compile("[?#%\uff20]|//[^/[]*:(?![0-9])")
"""In a value that is not written as it should be: queries, escapes, a port that is none."""


def _shown(problem: object) -> str:
    """The wrong value, unless it is one that must stay secret."""
    assert isinstance(problem, dict)  # noqa: S101 - narrows pydantic's typed dict
    name = str(problem["loc"][0]) if problem["loc"] else ""
    words = ("token", "key", "password", "secret", "channels")
    secret = any(word in name for word in words) and not name.endswith("_file")
    shown = hide_user(repr(problem.get("input")))
    # What is not written as an address may have a user all the same, or a secret behind it.
    known = shown.count("@") == shown.count("(hidden)@") and not _MAY_HIDE.search(shown)
    return shown if known and not secret else "(hidden)"
