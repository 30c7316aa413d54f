"""`python -m aviary`: the command line."""

from __future__ import annotations

import sys

from aviary import assert_own_packages


def main() -> None:
    """Run the command line; never returns normally."""
    try:
        assert_own_packages()
    except ImportError as error:
        sys.exit(f"aviary: {error}")
    from aviary.cli import build_app  # noqa: PLC0415 - imports our packages: only after the check

    build_app()(prog_name="aviary")


if __name__ == "__main__":
    main()
