"""CloudEvents 1.0: the envelope of every event that Aviary reads or writes."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from schemas.base import Model

JSON_CONTENT_TYPE = "application/json"


class CloudEvent(Model):
    """An event that Aviary publishes on `aviary.events`.

    Ids are deterministic (`<workflow>/<sequence>`), so that a repeated publication is recognised.
    """

    specversion: Literal["1.0"] = "1.0"
    type: str
    source: str
    id: str
    time: datetime
    subject: str | None = None
    datacontenttype: Literal["application/json"] = JSON_CONTENT_TYPE
    data: dict[str, Any] = Field(default_factory=dict)
    partition_key: str = Field(
        default="", exclude=True, description="Kafka key (the release id); not on the wire."
    )
