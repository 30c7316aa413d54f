"""Write the report of a release that ended, best effort."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from temporalio import activity
from temporalio.common import RetryPolicy

from activities.policy import Policy, terminal_errors
from adapters.ports import ReportWriter
from schemas.base import Model, ReleaseId

WRITE_REPORT: Final = "aviary.report.write"

REPORT_POLICY = Policy(
    start_to_close=timedelta(seconds=60),
    retry=RetryPolicy(initial_interval=timedelta(seconds=1)),
    schedule_to_close=timedelta(minutes=2),
)
"""A report is tried for two minutes: it can be made later from the histories, word for word."""


class WriteReport(Model):
    """Which release."""

    release: ReleaseId


class ReportActivities:
    """Activities over the folder of reports; without a writer nothing is configured."""

    def __init__(self, writer: ReportWriter | None) -> None:
        self._writer = writer

    @activity.defn(name=WRITE_REPORT)
    async def write(self, request: WriteReport) -> bool:
        """Write a release's report; a retry replaces it. False: no folder is configured."""
        if self._writer is None:
            return False
        with terminal_errors():
            await self._writer.write(request.release)
        return True
