"""One of Aviary's processes with its clock off: `python -m tests.chaos.outages.skewed 3600 worker`.

Whatever of Aviary reads the time of day gets it so many seconds off. Clocks that only measure how
long something takes are left alone, as they are on a machine whose date is wrong.
"""

from __future__ import annotations

import datetime as dt
import importlib
import sys
import time
from datetime import timedelta, tzinfo
from typing import Self

_OURS = ("activities", "adapters", "aviary")


def shift(seconds: float) -> None:
    """Set the clock of this process; call before anything of Aviary is imported."""
    real, off = time.time, timedelta(seconds=seconds)

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: tzinfo | None = None) -> Self:
            return super().now(tz) + off

    time.time = lambda: real() + seconds
    for part in ("aviary.worker", "aviary.bridge", "aviary.webhook"):
        importlib.import_module(part)
    for name, module in list(sys.modules.items()):
        ours = name.partition(".")[0] in _OURS
        if ours and getattr(module, "datetime", None) is dt.datetime:
            module.datetime = Shifted  # type: ignore[attr-defined]


def main() -> None:
    seconds, *words = sys.argv[1:]
    shift(float(seconds))
    sys.argv = ["aviary", *words]
    importlib.import_module("aviary.__main__").main()


if __name__ == "__main__":
    main()
