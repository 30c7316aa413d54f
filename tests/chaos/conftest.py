"""The Temporal server of the workflow tests serves the unwinding tests as well."""

from __future__ import annotations

from tests.workflows.conftest import server

__all__ = ["server"]
