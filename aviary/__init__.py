"""Aviary: durable, event-driven canary releases that span several dependent services.

Here belongs what runs: the command line, the settings, the worker, the bridge, the webhook, and the
wiring that chooses adapters. What is decided or done for a release does not (`workflows`,
`activities`).
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

__version__ = "0.1.0"

PACKAGES = ("schemas", "workflows", "activities", "adapters", "analysis", "aviary")
"""Aviary's own packages. Their names are common, so another distribution may have them too."""


def assert_own_packages() -> None:
    """Make sure that all of Aviary's packages are the ones beside this one.

    Raises:
        ImportError: names the package and the place of the intruder.
    """
    root = Path(__file__).resolve().parent.parent
    for name in PACKAGES:
        spec = find_spec(name)
        origin = Path(spec.origin).resolve() if spec is not None and spec.origin else None
        if origin != root / name / "__init__.py":
            found = f"found {origin}" if origin else "found none"
            raise ImportError(
                f"package {name}: expected {root / name}, {found}. Aviary needs an environment of "
                f"its own: run `python -m aviary` from {root}, without another {name} before it"
            )
