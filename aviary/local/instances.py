"""What a stack's process deployer has started: it outlives the worker, and ends with the stack.

`python -m aviary.local.instances FOLDER PID` waits until its parent, the stack of that process id,
has ended, and then ends what that left: nothing else does after a SIGKILL.
"""

from __future__ import annotations

import os
import select
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from adapters.deployers.fence import Obeyed
from adapters.deployers.process import ProcessConnection
from adapters.deployers.process.starting import end
from adapters.deployers.process.store import Folder, Ordered, Store
from aviary.local.ports import Block

CONNECTION: Final = "here"
"""Of the stack's process deployer, in its settings."""
_FOLDER: Final = "instances"
_AT_ONCE: Final = 16


def connection(folder: Path, ports: Block) -> ProcessConnection:
    """Where the instances of a stack's folder are, and the ports that they may have."""
    first, last = ports.ports[0], ports.ports[-1]
    return ProcessConnection(directory=str(folder / _FOLDER), first_port=first, last_port=last)


def written(found: ProcessConnection) -> dict[str, Any]:
    """A connection as a file of connections has it."""
    return {"kind": found.connection_kind, **found.model_dump(mode="json")}


def end_all(folder: Path) -> list[str]:
    """End every instance of a stack's folder, and let no late order start another one.

    Each is told to, has the grace of its recipe, and is then killed.

    Returns:
        The names of those that there were.
    """
    left = list(_stopped(folder / _FOLDER))
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        list(pool.map(end, left))
    return [one.name for one in left]


def _stopped(directory: Path) -> Iterator[Folder]:
    """All instances and commands, of versions that were ordered down."""
    owners = (
        [path.name for path in directory.iterdir() if path.is_dir()] if directory.exists() else []
    )
    for owner in owners:
        store = Store(directory, owner)
        for service, version in store.versions(None):
            with store.lock(store.version(service, version)):
                known = store.ordered(service, version)
                newer = known.obeyed.generation + 1 if known else 1
                store.order(service, version, Ordered(obeyed=Obeyed(generation=newer)))
                yield from store.instances(service, version)
        yield from store.commands()


def main() -> None:
    """Wait for the end of the parent, and end what it left."""
    folder, parent = Path(sys.argv[1]), int(sys.argv[2])
    try:
        handle = os.pidfd_open(parent)
    except ProcessLookupError:
        handle = None
    if handle is not None and os.getppid() == parent:
        select.select([handle], [], [])
    end_all(folder)


if __name__ == "__main__":
    main()
