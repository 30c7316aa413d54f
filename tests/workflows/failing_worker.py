"""`aviary worker` or `aviary serve` whose polls of one queue fail for good, once a file is there.

As the SDK's core has it when a poll is refused for good: the poll loop's next answer is an error.
Run as a process: the file, the queue (`<queue>/<workflows or activities>`), then Aviary's command.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from temporalio.bridge.worker import Worker as CoreWorker

from aviary.__main__ import main
from aviary.polling import PolledQueue, Work

_LOOK_S = 0.05
Poll = Callable[[CoreWorker], Awaitable[Any]]
_queues: dict[int, str] = {}


def arm(sign: Path, polled: PolledQueue) -> None:
    """Have the queue's polls fail, once, when the file is there."""
    name = {
        Work.WORKFLOWS: "poll_workflow_activation",
        Work.ACTIVITIES: "poll_activity_task",
    }[polled.work]
    create, kept = CoreWorker.create, getattr(CoreWorker, name)
    struck = False

    def known(client: Any, config: Any) -> CoreWorker:
        worker = create(client, config)
        _queues[id(worker)] = config.task_queue
        return worker

    async def poll(self: CoreWorker) -> Any:
        nonlocal struck
        answer = asyncio.ensure_future(kept(self))
        while not answer.done():
            await asyncio.wait({answer}, timeout=_LOOK_S)
            if not struck and _queues[id(self)] == polled.queue and sign.exists():
                struck = True
                raise RuntimeError("Poll failure: code: 'PermissionDenied', message: \"expired\"")
        return await answer

    setattr(CoreWorker, "create", staticmethod(known))  # noqa: B010 - the SDK's own class
    setattr(CoreWorker, name, poll)


if __name__ == "__main__":
    sign, polled, *words = sys.argv[1:]
    queue, _, work = polled.partition("/")
    arm(Path(sign), PolledQueue(queue, Work(work)))
    sys.argv = ["aviary", *words]
    main()
