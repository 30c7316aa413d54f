"""A workflow that does nothing but have a report written."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from workflows.report_call import write_report


@workflow.defn(name="test.reporting")
class Reporting:
    """Ends whatever becomes of the report."""

    @workflow.run
    async def run(self, release: str) -> str:
        await write_report(release)
        return "ended"
