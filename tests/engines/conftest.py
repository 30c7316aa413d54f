"""The Temporal of a session: `--engine` says which."""

from __future__ import annotations

from tests.workflows.conftest import server

__all__ = ["server"]
