"""What Aviary needs of the outside, as protocols; `aviary.wiring` chooses the adapters.

Here belongs what activities ask for, in the words of what they need, and no client library. Every
method raises `adapters.errors.Retryable` or `Terminal`, and nothing else, for what goes wrong
outside. `tests/contract` holds one suite for each port that every member passes.
"""

from adapters.ports.deploying import Deployer, Drain, OneOffRunner, Report, StillRouted
from adapters.ports.hooking import HookCaller, PolledHook, RunCommand
from adapters.ports.observing import AlertSource, MetricsSource
from adapters.ports.routing import (
    ChangeDetector,
    EndpointWriter,
    Instances,
    LaneRequests,
    LateCounts,
    Leased,
    LeaseStore,
    OwnCounters,
    Part,
    Registrar,
    RequestCounts,
    Router,
    Routing,
    UserCounts,
    VersionLocator,
)
from adapters.ports.telling import EventLog, Notifier, ReportWriter

__all__ = [
    "AlertSource",
    "ChangeDetector",
    "Deployer",
    "Drain",
    "EndpointWriter",
    "EventLog",
    "HookCaller",
    "Instances",
    "LaneRequests",
    "LateCounts",
    "LeaseStore",
    "Leased",
    "MetricsSource",
    "Notifier",
    "OneOffRunner",
    "OwnCounters",
    "Part",
    "PolledHook",
    "Registrar",
    "Report",
    "ReportWriter",
    "RequestCounts",
    "Router",
    "Routing",
    "RunCommand",
    "StillRouted",
    "UserCounts",
    "VersionLocator",
]
