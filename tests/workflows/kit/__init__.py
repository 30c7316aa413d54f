"""Given, when, then for workflow tests: real workflows and activities over in-memory adapters."""

from tests.workflows.kit.hook import ScriptedHook
from tests.workflows.kit.judge import FOREIGN, ScriptedJudge
from tests.workflows.kit.router import RecordingRouter
from tests.workflows.kit.world import (
    METRIC,
    PATIENCE_S,
    QUICK,
    Canary,
    Release,
    World,
    eventually,
)

__all__ = [
    "FOREIGN",
    "METRIC",
    "PATIENCE_S",
    "QUICK",
    "Canary",
    "RecordingRouter",
    "Release",
    "ScriptedHook",
    "ScriptedJudge",
    "World",
    "eventually",
]
