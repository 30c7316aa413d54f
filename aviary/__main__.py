"""`python -m aviary`: the command line."""

from __future__ import annotations

import os
import sys

from aviary import assert_own_packages


def main() -> None:
    """Run the command line; never returns normally."""
    try:
        assert_own_packages()
    except ImportError as error:
        sys.exit(f"aviary: {error}")
    from aviary.cli import build_app  # noqa: PLC0415 - imports our packages: only after the check

    try:
        build_app()(prog_name="aviary")
    except SystemExit as end:
        _leave(end)
        raise


def _leave(end: SystemExit) -> None:
    """End at once where Temporal's SDK was used: it may abort a process that ends as usual."""
    if "temporalio" not in sys.modules or not isinstance(end.code, int | None):
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(end.code or 0)


if __name__ == "__main__":
    main()
