"""A bridge that is killed when it has done a record and would commit it; run as a process."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from aviary.bridge import consume, run_bridge
from aviary.settings import Settings


class _Dying(consume.Consumption):
    async def _commit(self, offsets: dict[object, int]) -> bool:
        if offsets:
            os.kill(os.getpid(), signal.SIGKILL)
        return True


async def main() -> None:
    """Run until killed; the settings come as JSON in the first argument."""
    settings = Settings.model_validate_json(sys.argv[1])
    consume.Consumption._commit = _Dying._commit  # type: ignore[method-assign]
    await run_bridge(settings, asyncio.Event())


if __name__ == "__main__":
    asyncio.run(main())
