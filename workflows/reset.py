"""What becomes of a run that was reset, in the Temporal UI or by Temporal's command line.

The new run begins at an earlier point of the history, and may know less than what was done since.

A canary goes on; should it go back, it reads the route anew, and told to finalize it does so from
wherever it is. A release does not go on: Temporal no longer takes it for the parent of the canaries
that run. So it trusts nothing that it remembers of its services: it calls each canary in by name,
and then has another run of it look at the route. It finalizes if the run that was reset did, which
that run's history tells, and goes back otherwise.
"""

from __future__ import annotations

from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from schemas.ids import RESETS, SIGNAL_ORDER_END, canary_workflow_id
    from schemas.release import Cause, CauseKind, EndOrder
    from workflows.admission_client import AdmissionClient
    from workflows.cell import here


def resets() -> int:
    """How often this run was reset, up to this point of its history.

    The worker's runner (`aviary.sandbox`) counts. The SDK's own trace of it, a change of the random
    numbers, is told after the signals that came with the reset, and they may already decide.
    """
    count = workflow.extern_functions().get(RESETS)
    return int(count()) if count else 0


class Reset:
    """Whether a release is the work of a reset."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Watch; `changed` is called when there was one."""
        self._seen = 0
        self.deciding = False
        """Whether it is not known yet which way to go after one."""
        workflow.register_random_seed_callback(lambda _: changed())

    @property
    def happened(self) -> bool:
        """Whether there was one."""
        return resets() > 0

    def news(self) -> bool:
        """Whether there was one since this was last asked."""
        seen, self._seen = self._seen, resets()
        return self._seen > seen

    @staticmethod
    def cause() -> Cause:
        """Why a release goes back that was reset while it could."""
        text = "the release was reset in Temporal, and so can't know all that was done since"
        return Cause(kind=CauseKind.COMMAND, text=text, at=workflow.now())


async def order_end(service: str, order: EndOrder, admission: AdmissionClient) -> None:
    """Have a service's canary end as told, and wait until none runs.

    That of another release does not obey, and is waited for.
    """
    canary = canary_workflow_id(service, here())
    try:
        await workflow.get_external_workflow_handle(canary).signal(SIGNAL_ORDER_END, order)
    except FailureError as error:
        workflow.logger.info("a canary has ended meanwhile", extra={"error": str(error)})
    await admission.until_ended(
        canary, lambda: False, f"the canary of {service} from before the reset"
    )
