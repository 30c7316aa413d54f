"""AWS Application Load Balancers, as a kind of router.

Here belongs all that knows the API of Elastic Load Balancing, its rules, target groups and tags.
Nothing of another router does, and nothing that decides.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Final

from pydantic import Field

from adapters.connections import Connection
from adapters.kinds import RouterKind, Shared
from adapters.ports import Router
from adapters.routers.alb.capabilities import CAPABILITIES, kept
from schemas.base import Duration, Model
from schemas.capabilities import Capabilities, Counting
from schemas.catalog_check import Finding
from schemas.route import AudienceBy

if TYPE_CHECKING:
    from collections.abc import Callable

_LISTENER: Final = (
    r"^arn:aws[a-z-]*:elasticloadbalancing:([a-z0-9-]+):[0-9]{12}:listener/app/[A-Za-z0-9/-]+$"
)
_STICKY_MOST: Final = timedelta(days=7)


_Endpoint = Annotated[str, Field(pattern=r"^https?://[^/\s@?#]+/?$", max_length=500)]


class Counts(StrEnum):
    """Who counts requests."""

    NONE = "none"
    CLOUDWATCH = "cloudwatch"
    """CloudWatch, by the minute."""


class AlbConnection(Connection):
    """An account of AWS, where it is not the one of the environment.

    It has no secret: credentials are found by the standard chain (environment, profile, role of
    the container or instance), and renewed by it.
    """

    connection_kind: ClassVar[str] = "aws"

    profile: str | None = Field(
        default=None, pattern=r"^[A-Za-z0-9._-]{1,100}$", description="Of the AWS config file."
    )
    endpoint: _Endpoint | None = Field(
        default=None,
        description="Address of the API, such as a VPC endpoint; left out: that of the region.",
    )
    cloudwatch_endpoint: _Endpoint | None = Field(
        default=None, description="The same, of CloudWatch."
    )


class AlbOptions(Model):
    """Rules of listeners, found by their tags."""

    listeners: tuple[Annotated[str, Field(pattern=_LISTENER, max_length=300)], ...] = Field(
        min_length=1,
        max_length=20,
        description="ARNs of the listeners whose rules are tagged with their service, all of one "
        "region.",
    )
    sticky: Annotated[Duration, Field(le=_STICKY_MOST)] = Field(
        default=timedelta(0),
        description="How long a cookie keeps a user with a version; 0s: each request is drawn "
        "anew.",
    )
    prefix: str = Field(
        default="",
        pattern=r"^[A-Za-z0-9-]{0,32}$",
        description="What the names of target groups begin with: no others are looked at.",
    )

    asked_by: tuple[AudienceBy, ...] = Field(
        default=(),
        max_length=2,
        description="By what rules with the tag aviary:asks tell those who ask for a version.",
    )
    counts: Counts = Field(
        default=Counts.NONE,
        description="Whether CloudWatch is asked for the requests of each version: each is a call "
        "that AWS charges for.",
    )
    counts_late: Annotated[Duration, Field(ge=timedelta(minutes=1), le=timedelta(minutes=15))] = (
        Field(default=timedelta(minutes=3), description="How late its minutes are whole, at most.")
    )

    @property
    def capabilities(self) -> Capabilities:
        """What it can do with these options."""
        counted = self.counts is Counts.CLOUDWATCH
        counting = Counting.METRICS if counted else Counting.NONE
        return kept(self.sticky_s, counting, self.asked_by)

    @property
    def region(self) -> str:
        """That of the first listener."""
        return self.listeners[0].split(":")[3]

    @property
    def sticky_s(self) -> int:
        """Whole seconds for which a user stays."""
        return round(self.sticky.total_seconds())


def _check(options: AlbOptions, _: AlbConnection | None) -> Iterator[Finding]:
    for at, listener in enumerate(options.listeners):
        if listener.split(":")[3] != options.region:
            expected = f"a listener of the region of the first, {options.region}"
            yield Finding(("listeners", at), listener, expected)


def client_of(
    service: str, region: str, profile: str | None, endpoint: str | None
) -> Callable[[], Any]:
    """What makes a client of an API, with the credentials of the standard chain."""

    def make_client() -> Any:
        import boto3  # noqa: PLC0415 - the library is heavy
        from botocore.config import Config  # noqa: PLC0415 - the same

        session = boto3.session.Session(profile_name=profile)
        return session.client(
            service,
            region_name=region,
            endpoint_url=endpoint,
            config=Config(
                connect_timeout=1.0,
                read_timeout=2.0,
                max_pool_connections=20,
                retries={"mode": "standard", "total_max_attempts": 3},
            ),
        )

    return make_client


def _make(options: AlbOptions, connection: AlbConnection | None, _: Shared) -> Router:
    from adapters.routers.alb.client import Elb  # noqa: PLC0415 - a client library is heavy
    from adapters.routers.alb.counting import CountingAlbRouter  # noqa: PLC0415 - the same
    from adapters.routers.alb.router import AlbRouter  # noqa: PLC0415 - the same

    access = connection or AlbConnection()
    elb = Elb(client_of("elbv2", options.region, access.profile, access.endpoint))
    given: dict[str, Any] = {
        "can": options.capabilities,
        "sticky": options.sticky_s,
        "prefix": options.prefix,
    }
    if options.counts is Counts.NONE:
        return AlbRouter(elb, options.listeners, **given)
    endpoint = access.cloudwatch_endpoint
    watch = Elb(client_of("cloudwatch", options.region, access.profile, endpoint))
    late = options.counts_late
    return CountingAlbRouter(elb, options.listeners, watch=watch, late=late, **given)


ALB: Final = RouterKind[AlbOptions, AlbConnection](
    name="alb",
    text="AWS Application Load Balancers: weighted target groups of the tagged rules of "
    "`listeners`. Not tried on AWS itself.",
    options=AlbOptions,
    connection=AlbConnection,
    check=_check,
    make=_make,
    capabilities=CAPABILITIES,
    narrowed=lambda options: options.capabilities,
)
