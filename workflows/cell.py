"""Which cell a workflow is of, by its own id: whom it addresses is of the same."""

from __future__ import annotations

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.ids import NO_CELL, Cell, cell_of


def here() -> Cell:
    """The cell of the workflow that runs; none outside of workflows, where pages are made up."""
    return cell_of(workflow.info().workflow_id) if workflow.in_workflow() else NO_CELL
