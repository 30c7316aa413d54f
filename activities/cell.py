"""Which cell an activity works for: that of the workflow that asked for it."""

from __future__ import annotations

from temporalio import activity

from schemas.ids import Cell, cell_of


def here() -> Cell:
    """The cell of the workflow whose activity runs."""
    return cell_of(activity.info().workflow_id or "")
