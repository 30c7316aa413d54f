"""Have the report of a release written at its end; whatever becomes of that, the release ends."""

from __future__ import annotations

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from activities.report import REPORT_POLICY, WRITE_REPORT, WriteReport
    from schemas.ids import effects_queue


async def write_report(release: str) -> None:
    """Write the report of this release where a folder is configured; failing is logged only."""
    try:
        await workflow.execute_activity(
            WRITE_REPORT,
            WriteReport(release=release),
            result_type=bool,
            task_queue=effects_queue(workflow.info().task_queue),
            summary=f"report of {release}",
            **REPORT_POLICY.options,
        )
    except FailureError as error:
        workflow.logger.error(
            "the report could not be written", extra={"release": release, "error": str(error)}
        )
