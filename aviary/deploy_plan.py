"""The plan of a deploy event, or the reason for its dead letter: the same over Kafka and HTTP."""

from __future__ import annotations

from typing import Final

import structlog

from schemas.catalog import Catalog
from schemas.deploy import DeployEvent
from schemas.rejection import Rejected, RejectReason
from schemas.release import ReleasePlan
from workflows.planning import PlanError, PlanReason, plan_release

_log = structlog.get_logger("aviary.bridge")
_PLAN_REASONS: Final = {
    PlanReason.UNKNOWN_SERVICE: RejectReason.UNKNOWN_SERVICE,
    PlanReason.UNKNOWN_STRATEGY: RejectReason.UNKNOWN_STRATEGY,
    PlanReason.UNFIT_STRATEGY: RejectReason.UNFIT_STRATEGY,
    PlanReason.UNFIT_DEPLOYER: RejectReason.UNFIT_DEPLOYER,
    PlanReason.DUPLICATE_SERVICE: RejectReason.INVALID_DATA,
    PlanReason.OTHER_ENVIRONMENT: RejectReason.OTHER_ENVIRONMENT,
    PlanReason.TOO_LARGE: RejectReason.UNPLANNABLE,
}


def plan_event(event: DeployEvent, record: str, catalog: Catalog) -> ReleasePlan:
    """Plan the release that an event asks for.

    Args:
        event: what is asked for.
        record: where it is, for the log.
        catalog: the newest.

    Raises:
        Rejected: the catalog gives no plan for it.
    """
    try:
        return plan_release(
            catalog,
            event.deploy,
            source=event.asked_by,
            environment=event.environment,
            images=event.images,
        )
    except PlanError as error:
        raise Rejected(_PLAN_REASONS[error.reason], error.text) from error
    except Exception as error:
        # A fault of ours that this record brings out each time: kept, but not in the way.
        _log.exception("planning_fault", record=record)
        text = f"no plan because of a fault: {type(error).__name__}: {error}"
        raise Rejected(RejectReason.UNPLANNABLE, text) from error
