"""How workflows are run: in the SDK's sandbox, and never interrupted from outside."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from temporalio.bridge.proto.workflow_activation import WorkflowActivation
from temporalio.bridge.proto.workflow_completion import WorkflowActivationCompletion
from temporalio.converter import SerializationContext, StorageDriverStoreContext
from temporalio.worker import WorkflowInstance, WorkflowInstanceDetails, WorkflowRunner
from temporalio.worker.workflow_sandbox import SandboxedWorkflowRunner, SandboxRestrictions
from temporalio.workflow import Info

from schemas.ids import RESETS

_PASSED_THROUGH: Final = ("schemas", "activities", "adapters", "analysis", "pydantic", "httpx")
_WORKFLOWS: Final = "workflows"

_NOWHERE: Final = StorageDriverStoreContext(target=None)


def sandbox(*, versioned: bool = False, strict: bool = False) -> WorkflowRunner:
    """The workflow sandbox, with what is free of side effects passed through.

    Args:
        versioned: whether it is of a worker that takes part in worker versioning.
        strict: whether each run loads the code of workflows anew, so that a clock or a random
            number that it reads by mistake is an error. It costs up to 40 ms of CPU for each run
            that a worker takes up, all of them after its restart: tests pay that, workers do not.
    """
    passed = _PASSED_THROUGH if strict else (_WORKFLOWS, *_PASSED_THROUGH)
    restrictions = SandboxRestrictions.default.with_passthrough_modules(*passed)
    return Uninterrupted(SandboxedWorkflowRunner(restrictions=restrictions), versioned=versioned)


class Uninterrupted(WorkflowRunner):
    """Runs workflows by another runner, and keeps the SDK from breaking into one that is slow.

    A workflow task that takes longer than 2 s is given up by the SDK, which then raises an
    exception in the task's thread, wherever that happens to be. If the thread has just been given
    a lock (of the import system, of a log handler), the lock is never given back, and whoever
    wants it next waits for ever. For the lock of the import system that is the event loop, which
    imports for each new run, and no signal reaches it there. It takes no bug for this, only a
    machine that is short of CPU for 2 s.

    The task is given up all the same: its run leaves the cache when its thread has come to an end
    by itself, and is done again from its history.

    It also tells workflows of a reset before anything else (`workflows.reset`), and has a worker
    without worker versioning say nothing about builds: Temporal refuses what it would say.
    """

    def __init__(self, runner: WorkflowRunner, *, versioned: bool = False) -> None:
        """Run by this one."""
        self._runner = runner
        self._versioned = versioned

    def prepare_workflow(self, defn: Any) -> None:
        """See base class."""
        self._runner.prepare_workflow(defn)

    def create_instance(self, det: WorkflowInstanceDetails) -> WorkflowInstance:
        """See base class."""
        resets = Resets()
        functions = {**det.extern_functions, RESETS: resets.count}
        instance = self._runner.create_instance(replace(det, extern_functions=functions))
        return _Reticent(instance, resets, versioned=self._versioned)

    def set_worker_level_failure_exception_types(
        self, types: Sequence[type[BaseException]]
    ) -> None:
        """See base class."""
        self._runner.set_worker_level_failure_exception_types(types)


class Resets:
    """How often the history of a run was reset, up to where it has been replayed."""

    def __init__(self) -> None:
        self._count = 0

    def see(self, act: WorkflowActivation) -> None:
        """Look for the trace of a reset: only then are a run's random numbers changed."""
        self._count += sum(job.HasField("update_random_seed") for job in act.jobs)

    def count(self) -> int:
        """So far; the same at the same point of every replay."""
        return self._count


class _Reticent(WorkflowInstance):
    """An instance that tells neither its thread nor where a payload is from.

    The base class allows both. Where a payload is from (which activity, which child) is asked for
    each payload, inside of the sandbox, for codecs and stores outside of Temporal that may depend
    on it. Aviary has neither, and the questions would be a third of a workflow task.
    """

    def __init__(self, instance: WorkflowInstance, resets: Resets, *, versioned: bool) -> None:
        self._instance = instance
        self._versioned = versioned
        self._resets = resets
        self._working = threading.Lock()

    def activate(self, act: WorkflowActivation) -> WorkflowActivationCompletion:
        # The SDK means to evict a run only when its slow task is done, but its time-out cancels
        # what it would wait for: without the lock two threads would work on one run.
        with self._working:
            self._resets.see(act)
            done = self._instance.activate(act)
        if not self._versioned and done.HasField("successful"):
            done.successful.ClearField("versioning_behavior")
        return done

    def get_serialization_context(self, _: object) -> SerializationContext | None:
        return None

    def get_external_store_context(self, _: object) -> StorageDriverStoreContext:
        return _NOWHERE

    def get_info(self) -> Info:
        return self._instance.get_info()
