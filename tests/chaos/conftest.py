"""The Temporal server of the workflow tests serves the tests of rollbacks as well."""

from __future__ import annotations

from tests.workflows.conftest import server

__all__ = ["server"]
