"""`python -m aviary`: the command line."""

from __future__ import annotations

import sys
from pathlib import Path

from aviary import assert_own_packages
from aviary.leaving import leave


def called(program: str) -> str:
    """What a person has typed: `kubectl aviary` where kubectl has run it as its plugin."""
    return "kubectl aviary" if Path(program).name == "kubectl-aviary" else "aviary"


def main() -> None:
    """Run the command line; never returns normally."""
    try:
        assert_own_packages()
    except ImportError as error:
        sys.exit(f"aviary: {error}")
    from aviary.cli import build_app  # noqa: PLC0415 - imports our packages: only after the check

    try:
        build_app()(prog_name=called(sys.argv[0]))
    except SystemExit as end:
        if "temporalio" in sys.modules and isinstance(end.code, int | None):
            leave(end.code or 0)
        raise


if __name__ == "__main__":
    main()
