"""Names that more than one process must agree on: workflow ids, task queues, topics, handlers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

RELEASE_WORKFLOW: Final = "aviary.release"
CANARY_WORKFLOW: Final = "aviary.canary"
ADMISSION_WORKFLOW: Final = "aviary.admission"
HOOK_WORKFLOW: Final = "aviary.hook"
CONTRACT_WORKFLOW: Final = "aviary.contract"
RETIRE_WORKFLOW: Final = "aviary.retire"
WATCH_WORKFLOW: Final = "aviary.watch"
STALE_WORKFLOW: Final = "aviary.stale"

STOPPED_SHORT: Final = "JudgeStoppedShort"
"""Type of a judge's failure whose first detail is what it has seen, as that of a heartbeat is."""

TOPIC_DEPLOYS: Final = "aviary.deploys"
TOPIC_ALERTS: Final = "aviary.alerts"
TOPIC_EVENTS: Final = "aviary.events"
TOPIC_DEADLETTERS: Final = "aviary.deadletters"

SIGNAL_ALERT: Final = "alert"
"""To a canary, from the bridge: an `schemas.alert.Alert` about its service."""
SIGNAL_ALERTS: Final = "alerts"
"""To a canary, from the bridge: a list of up to 100 alerts, as `SIGNAL_ALERT` takes one."""
SIGNAL_ACCUSED: Final = "accused"
"""To a canary or a watch, from another release's canary: a `schemas.blame.Accusation`."""
SIGNAL_REPORT: Final = "canary_report"
"""To a release, from its canary: a `schemas.release.CanaryReport`."""
SIGNAL_FINALIZE: Final = "finalize"
"""To a canary, from its release: become stable."""
SIGNAL_GO_ON: Final = "go_on"
"""To a canary, from its release: the point up to which all of its group have come."""
SIGNAL_BEGIN: Final = "begin"
"""To a canary that was begun ahead of its turn, from its release: its turn has come."""
SIGNAL_RETIRE: Final = "retire"
"""To a retirement that waits already: a newer order, `schemas.retiring.RetireInput`."""
SIGNAL_STALE: Final = "stale"
"""To a wait until a flag is stale: what it is now, `schemas.stale_flag.StaleInput`."""
SIGNAL_WATCH: Final = "watch"
"""To a watch that goes on: a newer version to watch, `schemas.watching.WatchInput`."""
SIGNAL_ORDER_ROLLBACK: Final = "order_rollback"
"""To a canary, from its release: roll back now; a `schemas.release.Cause`."""
SIGNAL_ORDER_END: Final = "order_end"
"""To a canary, from its release after a reset: a `schemas.release.EndOrder`."""
SIGNAL_HOOK_ANSWER: Final = "hook_answer"
"""To a canary, from a hook that answers later: a `schemas.hooks.LateAnswer`."""
SIGNAL_ADMISSION: Final = "admission"
"""To a release, from the admission: a `schemas.admission.Answer`."""
SIGNAL_REVERT: Final = "revert"
"""To a release, from a later one that waits for its services: a `schemas.admission.Revert`."""
SIGNAL_LEAVE: Final = "leave"
"""To the admission, from a release that has ended: its id."""
SIGNAL_ASK: Final = "ask"
"""To the admission, from a release: a `schemas.admission.Ask`; the answer is `SIGNAL_ADMISSION`."""
SIGNAL_PAUSE: Final = "pause"
SIGNAL_RESUME: Final = "resume"
SIGNAL_APPROVE: Final = "approve"
SIGNAL_SKIP: Final = "skip"
SIGNAL_ROLLBACK: Final = "rollback"
SIGNAL_KEEP: Final = "keep"
"""The six commands, as signals and as updates of the same names, to a release or a canary.

Each takes one optional `schemas.release.Command`.
"""
REFUSED: Final = "Refused"
"""Type of the failure of an update that makes no sense now; its message is for a person."""
RESETS: Final = "aviary_resets"
"""The function that a worker lends to its workflows: how often this run was reset so far."""
QUERY_STATUS: Final = "status"
"""On a release: `ReleaseStatus`; on a canary: `CanaryStatus`."""
QUERY_EXPOSED: Final = "exposed"
"""On a canary: `schemas.blame.Exposed`."""


@dataclass(frozen=True)
class Cell:
    """One installation beside others in one Temporal namespace: an environment, or a region.

    Its name comes first in every id and task queue, so that what is asked for by the beginning of
    an id is of one cell. Without a name ids are as in a namespace of its own.
    """

    name: str = ""

    def __str__(self) -> str:
        """What its ids begin with."""
        return f"{self.name}/" if self.name else ""


NO_CELL: Final = Cell()
CELL_PATTERN: Final = r"^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$"
DRIFT: Final = "aviary-drift"
"""Id of the schedule of drift checks, and the beginning of their ids."""
KINDS: Final = (
    "release",
    "canary",
    "admission",
    "hook",
    "contract",
    "retire",
    "watch",
    "stale",
    DRIFT,
)
"""What may follow a cell in an id; none of them is a cell's name."""
_IN_A_CELL: Final = re.compile(rf"([a-z0-9-]+)/(?:(?:{'|'.join(KINDS[:-1])})/|{DRIFT})")


def cell_of(workflow_id: str) -> Cell:
    """The cell of a workflow of ours, by its id."""
    found = _IN_A_CELL.match(workflow_id)
    return Cell(found[1]) if found and found[1] not in KINDS else NO_CELL


def release_workflow_id(release: str, cell: Cell = NO_CELL) -> str:
    """The workflow id of a release: one release id, one workflow."""
    return f"{cell}release/{release}"


def canary_workflow_id(service: str, cell: Cell = NO_CELL) -> str:
    """The workflow id of a service's canary: its lock, and the address of alerts about it."""
    return f"{cell}canary/{service}"


def hook_workflow_id(call: str, cell: Cell = NO_CELL) -> str:
    """The workflow id of a hook that is told, and not waited for: one for each call, ever."""
    return f"{cell}hook/{call}"


def contract_workflow_id(service: str, call: str, cell: Cell = NO_CELL) -> str:
    """The workflow id of a service's contract: one for each call of its hook, ever."""
    return f"{cell}contract/{service}/{call}"


def retire_workflow_id(service: str, version: str, cell: Cell = NO_CELL) -> str:
    """The workflow id of what takes a version down that nothing needs any more."""
    return f"{cell}retire/{service}/{version}"


def watch_workflow_id(service: str, cell: Cell = NO_CELL) -> str:
    """The workflow id of what watches a service's stable version: the address of late alerts."""
    return f"{cell}watch/{service}"


def stale_workflow_id(flag: str, cell: Cell = NO_CELL) -> str:
    """The workflow id of what waits until a feature flag has been fully on for too long."""
    return f"{cell}stale/{flag}"


def admission_workflow_id(prefix: str, cell: Cell = NO_CELL) -> str:
    """The workflow id of the admission: one for all the releases of a task queue."""
    return f"{cell}admission/{prefix.removeprefix(str(cell))}"


def drift_schedule_id(cell: Cell = NO_CELL) -> str:
    """The id of the schedule of drift checks, and the beginning of their workflow ids."""
    return f"{cell}{DRIFT}"


def main_queue(task_queue: str, cell: Cell = NO_CELL) -> str:
    """The task queue of workflows and router writes; the prefix of the others."""
    return f"{cell}{task_queue}"


def judging_queue(prefix: str) -> str:
    """The task queue of judging: many slots, long activities."""
    return f"{prefix}-judging"


def effects_queue(prefix: str) -> str:
    """The task queue of events, notices and preflight questions."""
    return f"{prefix}-effects"


def waiting_queue(prefix: str) -> str:
    """The task queue of waiting for other workflows: many slots, apart from all that is urgent."""
    return f"{prefix}-waiting"


def deploying_queue(prefix: str) -> str:
    """The task queue of putting versions up and taking them down: minutes each."""
    return f"{prefix}-deploying"
