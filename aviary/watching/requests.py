"""The deploy event of a group of templates: the same group has the same event, whoever makes it."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Collection
from datetime import datetime
from typing import Final

from pydantic import AwareDatetime

from adapters.kafka import Outgoing
from aviary.watching.grouping import Group
from aviary.watching.templates import Reference
from schemas import ids
from schemas.base import Model
from schemas.deploy import DEPLOY_TYPE, DeployEvent, DeployRequested, ServiceVersion
from schemas.events import STRUCTURED_CONTENT_TYPE

_SOURCE: Final = "/aviary/watch/kubernetes"
_DIGEST: Final = 10
_REVISION: Final = 12
_WORD_MOST: Final = 100


class Request(Model):
    """A deploy event that was decided on, as the journal keeps it until Kafka has it."""

    id: str
    time: AwareDatetime
    namespace: str
    deploy: DeployRequested
    templates: dict[str, int]
    """Of each template's uid, the generation."""

    @property
    def event(self) -> DeployEvent:
        """As a bridge reads it."""
        return DeployEvent(
            type=DEPLOY_TYPE, source=self._source, id=self.id, time=self.time, deploy=self.deploy
        )

    @property
    def record(self) -> Outgoing:
        """As it is written to Kafka: a CloudEvent in structured mode."""
        said = {
            "specversion": "1.0",
            "type": DEPLOY_TYPE,
            "source": self._source,
            "id": self.id,
            "time": self.time.isoformat(),
            "subject": self.deploy.release,
            "datacontenttype": "application/json",
            "data": self.deploy.model_dump(mode="json", exclude_none=True),
        }
        key = self.deploy.release.encode()
        headers = (("content-type", STRUCTURED_CONTENT_TYPE.encode()),)
        return Outgoing(ids.TOPIC_DEPLOYS, json.dumps(said).encode(), key=key, headers=headers)

    @property
    def _source(self) -> str:
        return f"{_SOURCE}/{self.namespace}"


def request_of(
    group: Group, namespace: str, at: datetime, used: Collection[str] = frozenset()
) -> Request:
    """What a group asks for. Its id and its release are functions of the templates' states alone.

    Args:
        group: of templates, each of another service.
        namespace: of theirs.
        at: when it was decided.
        used: names of releases that are taken already.
    """
    marks = sorted(one.of.mark for one in group.templates)
    digest = hashlib.sha256("\n".join(marks).encode()).hexdigest()
    labels = {"namespace": namespace}
    if group.key.word and not group.key.is_release:
        labels["revision"] = group.key.word
    deploy = DeployRequested(
        release=_release(group, digest[:_DIGEST], used),
        services=tuple(
            ServiceVersion(service=one.service, version=one.version, image=one.image)
            for one in group.templates
        ),
        labels=labels,
    )
    return Request(
        id=marks[0] if len(marks) == 1 else digest[:32],
        time=at,
        namespace=namespace,
        deploy=deploy,
        templates={one.of.uid: one.of.generation for one in group.templates},
    )


def _release(group: Group, digest: str, used: Collection[str]) -> str:
    """The release's id: the one that the team gave it, where no other release has it."""
    if group.key.is_release:
        word = group.key.word
        return word if word not in used else f"{word[:_WORD_MOST]}-{digest}"
    if group.key.word:
        last = group.key.word.rpartition(":")[2]
        word = "rev-" + re.sub(r"[^A-Za-z0-9]+", "-", last)[:_REVISION].strip("-")
    else:
        word = group.templates[0].service
        others = len(group.templates) - 1
        word += f"-and-{others}" if others else ""
    return f"{word}-{digest}"


def same_service(group: Group) -> dict[str, list[Reference]]:
    """Services of which a group has several templates."""
    found: dict[str, list[Reference]] = {}
    for one in group.templates:
        found.setdefault(one.service, []).append(one.of)
    return {service: those for service, those in found.items() if len(those) > 1}
