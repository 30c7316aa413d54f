"""Given, when, then for workflow tests: real workflows and activities over in-memory adapters."""

from tests.workflows.kit.hook import ScriptedHook
from tests.workflows.kit.judge import FOREIGN, ScriptedJudge
from tests.workflows.kit.router import RecordingRouter
from tests.workflows.kit.world import (
    DEPLOY,
    METRIC,
    PATIENCE_S,
    QUICK,
    Canary,
    Release,
    World,
    eventually,
    with_deployer,
)

__all__ = [
    "DEPLOY",
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
    "with_deployer",
]
