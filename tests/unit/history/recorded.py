"""The histories that the replay test replays, as the reader of timelines takes them."""

from __future__ import annotations

from pathlib import Path

from temporalio.client import WorkflowHistory

FOLDER = Path(__file__).parents[2] / "replay" / "histories"


def release(scenario: str) -> WorkflowHistory:
    """The history of a scenario's release."""
    return _read(FOLDER / f"{scenario}.release.json", "release")


def canaries(scenario: str) -> dict[str, WorkflowHistory]:
    """The histories of its canaries, by run id."""
    found = [_read(path, "canary") for path in FOLDER.glob(f"{scenario}.canary.*.json")]
    return {history.run_id: history for history in found}


def cut(history: WorkflowHistory, events: int) -> WorkflowHistory:
    """What was there of a history after so many events."""
    return WorkflowHistory(workflow_id=history.workflow_id, events=history.events[:events])


def _read(path: Path, workflow_id: str) -> WorkflowHistory:
    return WorkflowHistory.from_json(workflow_id, path.read_text(encoding="utf-8"))
