"""The deploy event: what a pipeline says when versions should go out together.

Accepted are CloudEvents 1.0 on Kafka, in structured and in binary mode, of Aviary's own type and of
CDEvents' `service.deployed` and `service.upgraded`.

The envelope is read here and not by the `cloudevents` package (2.2): that one lets `TypeError`,
`UnicodeDecodeError` and its formats' own errors through beside its own, does not name the value it
refuses, and fails on a record whose key is not UTF-8. Every bad record must become exactly one dead
letter with a reason, so the one small model below is the simpler way.
"""

from __future__ import annotations

import hashlib
import json
import re
from base64 import b64decode
from collections.abc import Iterable, Mapping
from enum import StrEnum
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from schemas.base import Model, ReleaseId, ServiceName, Version
from schemas.deployment import Config, ImageName
from schemas.events import RELEASE_SOURCE
from schemas.outside import NAME_MOST, TEXT_MOST, Name, cut
from schemas.purl import image_of, version_of
from schemas.rejection import Rejected, RejectReason, explain, load_json, show

__all__ = [
    "DEPLOY_TYPE",
    "DeployEvent",
    "DeployRequested",
    "Images",
    "RejectReason",
    "Rejected",
    "ServiceVersion",
    "parse_deploy",
]

DEPLOY_TYPE: Final = "dev.aviary.release.requested.v1"
_CDEVENT: Final = re.compile(r"dev\.cdevents\.service\.(deployed|upgraded)(\.\d[\w.+-]*)?")
_ACCEPTED: Final = f"{DEPLOY_TYPE}, dev.cdevents.service.deployed.* or .upgraded.*"
_STRUCTURED: Final = "application/cloudevents"
_BATCH: Final = "application/cloudevents-batch"
_ARTIFACT: Final = "data.subject.content.artifactId"
_CD_FIELDS: Final = {"service": "data.subject.id", "version": _ARTIFACT}
"""Where a CDEvent has what a deploy event calls so."""
_JSON_TYPE: Final = re.compile(r"[\w.-]+/(json|[\w.-]+\+json)\s*(;.*)?", re.IGNORECASE)

SERVICES_MOST: Final = 10_000
"""Services of one release."""
LABELS_MOST: Final = 100
"""Labels of one release."""
_VALUES_MOST: Final = 50_000
"""Values in one event, at all levels."""

_M = TypeVar("_M", bound=BaseModel)
_Name = Annotated[str, Field(min_length=1, max_length=NAME_MOST)]
_Text = Annotated[str, Field(min_length=1, max_length=TEXT_MOST)]

Headers = Mapping[str, bytes] | Iterable[tuple[str, bytes]]


class ServiceVersion(Model):
    """One service and the version it shall have."""

    service: ServiceName
    version: Version
    image: ImageName | None = Field(
        default=None,
        exclude_if=lambda image: image is None,
        description="For a deployer that puts up images: this one, and not the recipe's.",
    )
    config: Config = Field(
        default_factory=dict,
        exclude_if=lambda config: not config,
        description="Environment of this version beside the recipe's; no secrets.",
    )


class NamedFlag(ServiceVersion):
    """The same, where the event called it a feature flag: the catalog's entry has to be one."""


class FlagVariant(Model):
    """One feature flag and the variant that it shall have; the same as a service and a version."""

    flag: ServiceName = Field(description="Its entry in the catalog.")
    to: Version


def _of_flag(value: Any) -> Any:
    """A flag and its variant as a service and its version; anything else as it is."""
    if not isinstance(value, dict) or "flag" not in value:
        return value
    try:
        flag = FlagVariant.model_validate(value)
    except ValidationError as error:
        raise ValueError(explain(error)) from None
    return NamedFlag(service=flag.flag, version=flag.to)


ServiceOrFlag = Annotated[
    ServiceVersion, BeforeValidator(_of_flag, json_schema_input_type=ServiceVersion | FlagVariant)
]


class Images(StrEnum):
    """What it means that a deploy event has an image for a service, or none."""

    ORDERED = "ordered"
    """An image that no deployer puts up is an error."""
    MENTIONED = "mentioned"
    """An image that no deployer puts up is ignored."""
    UNKNOWN = "unknown"
    """There is no event any more: no version is put up, so none is missed."""


class DeployRequested(Model):
    """The data of a deploy event: one release."""

    release: ReleaseId
    services: tuple[ServiceOrFlag, ...] = Field(
        json_schema_extra={"minItems": 1, "maxItems": SERVICES_MOST}
    )
    strategy: _Name | None = Field(
        default=None, description="For all services; else what the catalog says."
    )
    labels: dict[_Name, Annotated[str, Field(max_length=TEXT_MOST)]] = Field(
        default_factory=dict, json_schema_extra={"maxProperties": LABELS_MOST}
    )

    @field_validator("services", "labels", mode="before")
    @classmethod
    def _not_too_many(cls, value: Any, info: ValidationInfo) -> Any:
        # Before each of them is looked at: there may be very many.
        most = SERVICES_MOST if info.field_name == "services" else LABELS_MOST
        if isinstance(value, list | dict) and len(value) > most:
            raise ValueError(f"got {len(value)}, expected at most {most}")
        return value

    @field_validator("services")
    @classmethod
    def _each_once(cls, services: tuple[ServiceVersion, ...]) -> tuple[ServiceVersion, ...]:
        # Not `min_length`: pydantic would say "too short" of items it refused for another reason.
        if not services:
            raise ValueError("expected at least one service")
        seen: set[str] = set()
        for item in services:
            if item.service in seen:
                raise ValueError(f"expected each service once, {item.service} is there twice")
            seen.add(item.service)
        return services

    def digest(self) -> str:
        """What is asked for, as 64 hexadecimal digits: equal exactly when two events ask the same.

        The order of services and of labels says nothing, and neither does the envelope.
        """
        content = {
            "release": self.release,
            "services": {
                item.service: item.model_dump(mode="json", exclude={"service"})
                for item in self.services
            },
            "strategy": self.strategy,
            "labels": self.labels,
        }
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


BY_HEADER: Final = "aviary-by"
"""Header of a record: who sent the event to the webhook, which wrote it."""


class DeployEvent(Model):
    """A deploy event with what its envelope says."""

    type: str
    source: str
    id: str
    time: AwareDatetime | None = None
    environment: str | None = Field(
        default=None, description="The environment it is meant for, where the event says so."
    )
    deploy: DeployRequested
    by: Name = Field(
        default="", description="Who sent it, where the webhook took it from somebody known."
    )

    @property
    def images(self) -> Images:
        """How its images are meant: a CDEvent names one, whoever puts the version up."""
        return Images.ORDERED if self.type == DEPLOY_TYPE else Images.MENTIONED

    @property
    def origin(self) -> str:
        """CloudEvents' identity of an event: its source and id."""
        return f"{self.source}#{self.id}"

    @property
    def asked_by(self) -> str:
        """Who asks, for people: the event, and who sent it where that is known."""
        return f"{self.origin}, sent by {self.by}" if self.by else self.origin


class _Envelope(BaseModel):
    """CloudEvents 1.0, JSON format. Extension attributes are other people's and are left alone."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    specversion: Literal["1.0"]
    type: _Text
    source: _Text
    id: _Text
    time: AwareDatetime | None = None
    datacontenttype: str | None = None
    data: Any = None
    data_base64: str | None = None

    @model_validator(mode="after")
    def _data_is_json(self) -> Self:
        if self.data is not None and self.data_base64 is not None:
            raise ValueError("expected data or data_base64, got both")
        kind = self.datacontenttype
        if kind is not None and not _JSON_TYPE.fullmatch(kind.strip()):
            raise ValueError(f"expected datacontenttype application/json, got {show(kind)}")
        return self


class _Named(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: _Name


class _CdContent(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    environment: _Named
    artifact_id: str = Field(alias="artifactId", min_length=1)


class _CdSubject(BaseModel):
    model_config = ConfigDict(frozen=True, extra="ignore")

    id: _Name
    content: _CdContent


class _CdEvent(BaseModel):
    """The part of a CDEvent that names service, artifact and environment."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    subject: _CdSubject


def parse_deploy(value: bytes | None, headers: Headers = ()) -> DeployEvent:
    """Read one record of `aviary.deploys`.

    Args:
        value: the record's value, None for a tombstone.
        headers: the record's headers; `content-type` and `ce_*` decide about the mode.

    Raises:
        Rejected: with the reason and a text that names field, value and expectation.
    """
    texts = _texts(headers)
    envelope = _envelope(value, texts)
    data = _data(envelope)
    if envelope.type == DEPLOY_TYPE:
        environment, deploy = None, _validated(DeployRequested, data)
    elif _CDEVENT.fullmatch(envelope.type):
        environment, deploy = _from_cdevent(envelope, data)
    else:
        text = f"type: unknown event type {show(envelope.type)}, expected {_ACCEPTED}"
        raise Rejected(RejectReason.UNKNOWN_TYPE, text)
    return DeployEvent(
        type=envelope.type,
        source=envelope.source,
        id=envelope.id,
        time=envelope.time,
        environment=environment,
        deploy=deploy,
        by=texts.get(BY_HEADER, ""),
    )


def _texts(headers: Headers) -> dict[str, str]:
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return {k.lower(): (v or b"").decode("utf-8", "backslashreplace") for k, v in pairs}


def _envelope(value: bytes | None, headers: dict[str, str]) -> _Envelope:
    kind = headers.get("content-type", "").strip().lower()
    if kind.startswith(_BATCH):
        text = f"content-type: got {show(kind)}, expected one event a record ({_STRUCTURED}+json)"
        raise Rejected(RejectReason.NOT_CLOUDEVENT, text)
    if "ce_specversion" in headers and not kind.startswith(_STRUCTURED):
        fields: Any = {k[3:]: v for k, v in headers.items() if k.startswith("ce_")}
        fields.pop("data_base64", None)
        fields |= {"data": load_json(value, values=_VALUES_MOST), "datacontenttype": kind or None}
    else:
        fields = load_json(value, values=_VALUES_MOST)
    if not isinstance(fields, dict):
        text = f"value: got {show(fields)}, expected a CloudEvents 1.0 object"
        raise Rejected(RejectReason.NOT_CLOUDEVENT, text)
    try:
        return _Envelope.model_validate(fields)
    except ValidationError as error:
        raise Rejected(RejectReason.NOT_CLOUDEVENT, explain(error)) from error


def _data(envelope: _Envelope) -> Any:
    if envelope.data_base64 is None:
        return envelope.data
    try:
        content = b64decode(envelope.data_base64, validate=True)
    except ValueError as error:  # binascii.Error, and a plain one for text beyond ASCII
        text = f"data_base64: {error}, got {show(envelope.data_base64)}, expected Base64"
        raise Rejected(RejectReason.UNPARSABLE, text) from error
    return load_json(content, values=_VALUES_MOST)


def _validated(model: type[_M], data: Any) -> _M:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        raise Rejected(RejectReason.INVALID_DATA, explain(error, "data")) from error


def _from_cdevent(envelope: _Envelope, data: Any) -> tuple[str, DeployRequested]:
    if envelope.source.startswith(RELEASE_SOURCE):
        # Acted upon, what a release did would ask for the next release, for ever.
        text = f"source: got {show(envelope.source)}, expected an event that is not Aviary's own"
        raise Rejected(RejectReason.UNKNOWN_TYPE, text)
    subject = _validated(_CdEvent, data).subject
    item = _cd_item(subject)
    # The same event is the same release, however often it is delivered.
    identity = f"{envelope.source}\n{envelope.id}".encode("utf-8", "backslashreplace")
    digest = hashlib.sha256(identity).hexdigest()[:12]
    words = re.sub(r"[^A-Za-z0-9._-]", "-", f"{item.service[:63]}-{item.version[:40]}")
    fields = {
        "release": f"{words}-{digest}",
        "services": [item],
        "labels": {
            "artifact": cut(subject.content.artifact_id, TEXT_MOST),
            "environment": cut(subject.content.environment.id, TEXT_MOST),
        },
    }
    try:
        deploy = DeployRequested.model_validate(fields)
    except ValidationError as error:
        text = explain(error, "data.subject (as a release)")
        raise Rejected(RejectReason.INVALID_DATA, text) from error
    return subject.content.environment.id, deploy


def _cd_item(subject: _CdSubject) -> ServiceVersion:
    """The service and its version.

    Raises:
        Rejected: one of them is none; the text names the field that the CDEvent has it in.
    """
    version = _purl_version(subject.content.artifact_id)
    try:
        image = image_of(subject.content.artifact_id)
        return ServiceVersion(service=subject.id, version=version, image=image)
    except ValidationError as error:
        problems = [
            f"{_CD_FIELDS[str(problem['loc'][0])]}: "
            f"{problem['msg'].removeprefix('Value error, ')}, got {show(problem['input'])}"
            for problem in error.errors(include_url=False, include_context=False)
        ]
        raise Rejected(RejectReason.INVALID_DATA, "; ".join(problems)) from error


def _purl_version(purl: str) -> str:
    version = version_of(purl)
    if not version:
        text = (
            f"{_ARTIFACT}: got {show(purl)}, expected a package URL such as pkg:oci/checkout@1.4.2"
        )
        raise Rejected(RejectReason.INVALID_DATA, text)
    return version
