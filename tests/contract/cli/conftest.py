from __future__ import annotations

from tests.unit.cli.conftest import catalog, event, run

__all__ = ["catalog", "event", "run"]
