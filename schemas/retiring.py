"""What takes a version down that nothing needs any more: the input and the end of that workflow."""

from __future__ import annotations

from datetime import timedelta

from pydantic import AwareDatetime, Field

from schemas.base import Duration, Model, ServiceName, Version
from schemas.deploy_spec import DeploySpec
from schemas.deployment import Generation
from schemas.outside import Text
from schemas.router_spec import RouterSpec


class RetireInput(Model):
    """Starts a retirement, or gives one that waits already a newer order."""

    release: str = Field(description="That needs the version no more; empty: not known.")
    service: ServiceName
    version: Version
    router: RouterSpec
    deploy: DeploySpec
    generation: Generation
    at: AwareDatetime = Field(description="When it is taken down.")
    because: Text = Field(description="Why it is not needed, in words.")
    retry_cap: Duration = Field(
        default=timedelta(minutes=1), description="Longest pause between attempts."
    )


class Retired(Model):
    """How a retirement ended."""

    gone: bool = Field(description="False: it was left, because it is needed again.")
    text: Text = Field(description="In a sentence, for people.")
