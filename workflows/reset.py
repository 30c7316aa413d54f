"""What becomes of a run that was reset, in the Temporal UI or by Temporal's command line.

The new run begins at an earlier point of the history, and may know less than what was done since.

A canary goes on; should it go back, it reads the route anew. A release does not go on: Temporal no
longer takes it for the parent of the canaries that run. So it trusts nothing that it remembers of
its services: it calls each canary in by name, and then has another run of it look at the route.
"""

from __future__ import annotations

from collections.abc import Callable

from temporalio import workflow
from temporalio.exceptions import FailureError

with workflow.unsafe.imports_passed_through():
    from schemas.ids import SIGNAL_RECALL, canary_workflow_id
    from schemas.release import Cause, CauseKind, Recall
    from workflows.turn import Turn


_TO_FIRST_TASK = 3
"""Events until the first workflow task begins; one that a reset begins anew has more before it."""


def on_reset(act: Callable[[], None], *, continued: bool = False) -> None:
    """Have this called when the history comes to the point of a reset; call it in `__init__`.

    What a workflow sees of a reset is that its random numbers change; and nothing at all when it
    begins anew, but that another run was the first.

    Args:
        act: may be called more than once.
        continued: this run goes on for an earlier one by itself, and that was the first.
    """
    workflow.register_random_seed_callback(lambda _: act())
    info = workflow.info()
    begun_anew = info.get_current_history_length() > _TO_FIRST_TASK
    if begun_anew and not continued and info.run_id != info.first_execution_run_id:
        act()


class Reset:
    """Whether this run is the work of a reset."""

    def __init__(self, changed: Callable[[], None]) -> None:
        """Watch; `changed` is called when there was one."""
        self._changed = changed
        self.happened = False
        self._seen = False
        on_reset(self._note)

    def _note(self) -> None:
        self.happened = True
        self._seen = False
        self._changed()

    def news(self) -> bool:
        """Whether there was a reset since this was last asked."""
        news, self._seen = self.happened and not self._seen, True
        return news

    @staticmethod
    def cause() -> Cause:
        """Why a release goes back that was reset while it could."""
        text = "the release was reset in Temporal, and so can't know all that was done since"
        return Cause(kind=CauseKind.COMMAND, text=text, at=workflow.now())


async def call_in(service: str, recall: Recall, turn: Turn) -> None:
    """Have a service's canary end as told, and wait until none runs.

    That of another release does not obey, and is waited for.
    """
    canary = canary_workflow_id(service)
    try:
        await workflow.get_external_workflow_handle(canary).signal(SIGNAL_RECALL, recall)
    except FailureError as error:
        workflow.logger.info("a canary has ended meanwhile", extra={"error": str(error)})
    await turn.until_ended(canary, lambda: False, f"the canary of {service} from before the reset")
