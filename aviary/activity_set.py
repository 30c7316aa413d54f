"""From ports to activities, and to the task queues that they are on: the one map of them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

from temporalio.client import Client

from activities.admission import AdmissionActivities
from activities.announce import AnnounceActivities
from activities.blame import BlameActivities, TemporalCanaries
from activities.decided import DecidedActivities, went_final
from activities.deploy import DeployActivities
from activities.drift import DriftActivities, Known, Platforms
from activities.failures import FailureReader
from activities.flags import FlagActivities
from activities.hooks import HookActivities, no_door
from activities.lease import LeaseActivities, asks
from activities.observe import ObserveActivities
from activities.preflight import PreflightActivities
from activities.readiness import ReadinessActivities
from activities.report import ReportActivities
from activities.report_delivery import ReportSender
from activities.revert import RevertActivities
from activities.standing import StandingActivities
from activities.traffic import HEALS_WITHIN, TrafficActivities
from adapters.errors import Terminal
from adapters.ports import (
    AlertSource,
    Deployer,
    EventLog,
    HookCaller,
    Notifier,
    ReportWriter,
    Routing,
)
from aviary.queues import Activity, ActivitySet
from aviary.releases.reverting import take_back
from aviary.schedules import plan_back
from schemas.catalog import Catalog
from schemas.cdevents_out import CdVersion
from schemas.deploy_spec import DeploySpec
from schemas.hooks import HookCall, HookEvent
from schemas.router_spec import RouterSpec


@dataclass(frozen=True)
class Outside:
    """What the activities reach, each by its port."""

    routers: Callable[[RouterSpec], Routing]
    hooks: Callable[[HookCall], HookCaller]
    catalog: Callable[[], Catalog]
    log: EventLog
    notifier: Notifier
    alerts: AlertSource
    reports: ReportWriter | None
    runs: Callable[[str], Awaitable[bool]]
    """Whether a workflow runs, by its id."""
    judge: Activity
    """The activity that judges a bake."""
    begin_ramp: Activity
    failures: FailureReader | None = None
    """Reads what failed; None: nobody is blamed by it."""
    deployers: Callable[[DeploySpec], Deployer] | None = None
    """None: versions are put up by the pipeline alone."""
    with_door: Callable[[HookEvent], HookEvent] = no_door
    """Adds to what a hook is sent where it may answer later."""
    cdevents: CdVersion | None = None
    """Which CDEvents are published beside Aviary's own events; None: none."""
    heals_within: timedelta = HEALS_WITHIN
    """How long a route that has vanished may take to come back."""


def _no_deployer(spec: DeploySpec) -> Deployer:
    raise Terminal(f"deployer kind {spec.kind}: this worker has no deployers")


def activity_set(client: Client, outside: Outside) -> ActivitySet:
    """All activities of a worker, by task queue."""
    routers, deployers = outside.routers, outside.deployers or _no_deployer
    traffic = TrafficActivities(routers, outside.heals_within)
    observe = ObserveActivities(routers)
    standing = StandingActivities(routers)
    announce = AnnounceActivities(outside.log, outside.notifier, cdevents=outside.cdevents)
    platforms = Platforms(routers, deployers)
    known = Known(outside.runs, partial(went_final, client))
    admission = AdmissionActivities(client)
    blame = BlameActivities(TemporalCanaries(client), outside.catalog, outside.failures)
    deploy = DeployActivities(routers, deployers, ReportSender(client).deliver)
    return ActivitySet(
        routers=[traffic.read, traffic.apply, standing.register],
        judging=[
            outside.judge,
            outside.begin_ramp,
            observe.see_back,
            standing.stand,
            standing.first,
            FlagActivities(routers).look,
            DriftActivities(platforms, outside.catalog, plan_back, known).look,
        ],
        effects=[
            announce.publish,
            announce.notify,
            admission.ask,
            admission.resync,
            admission.deliver,
            admission.wait_for_end,
            ReportActivities(outside.reports).write,
            DecidedActivities(client).decided,
            RevertActivities(partial(take_back, client)).revert,
            blame.blame,
        ],
        waiting=[
            admission.wait_for_end,
            PreflightActivities(outside.alerts).preflight,
            ReadinessActivities(routers).ready,
            LeaseActivities(routers, asks(client)).keep,
            HookActivities(outside.hooks, with_door=outside.with_door, deployer_for=deployers).call,
        ],
        deploying=[deploy.put_up, deploy.scale, deploy.count, deploy.recall, deploy.take_down],
    )
