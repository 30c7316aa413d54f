"""Builds what a small Kubernetes needs, unless it is there: `python -m aviary.local.kubernetes`.

Where they can't be had, it says why and ends well: what needs them is skipped then.
"""

from __future__ import annotations

import asyncio
import sys

from aviary.local import debian
from aviary.local.kubernetes.clients import install_clients
from aviary.local.kubernetes.programs import KubernetesError, install


def main() -> None:
    """Build them."""
    try:
        asyncio.run(_build())
    except KubernetesError as error:
        _say(f"not built: {error}")


async def _build() -> None:
    await install(debian.cache_folder(), _say)
    await install_clients(debian.cache_folder(), _say)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
