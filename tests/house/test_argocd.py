"""The health check for Argo CD, by a real Lua 5.1, as Argo CD's own is, and without libraries."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from aviary.watching.reporting import Written, conditions_of
from aviary.watching.status import Report, State
from aviary.watching.templates import reference_of
from tests.unit.watching.parts import AT, deployment
from tests.unpacked import environment, unpacked

ROOT = Path(__file__).parents[2]
FILE = ROOT / "deploy/argocd/argocd-cm.yaml"
_LIBRARIES = ("string", "table", "math", "io", "os", "debug", "coroutine", "package")


def lua(value: Any) -> str:
    """A value as Lua writes it."""
    if isinstance(value, dict):
        return "{" + ",".join(f"[{lua(key)}]={lua(one)}" for key, one in value.items()) + "}"
    if isinstance(value, list):
        return "{" + ",".join(map(lua, value)) + "}"
    if isinstance(value, str):
        return '"' + "".join(f"\\{byte:03d}" for byte in value.encode()) + '"'
    return "nil" if value is None else json.dumps(value)


def health(thing: dict[str, Any]) -> tuple[str, str]:
    """What Argo CD would show of an object."""
    data = yaml.safe_load(FILE.read_text())["data"]
    kind = "apps_Deployment" if thing["kind"] == "Deployment" else thing["kind"]
    script = data[f"resource.customizations.health.{kind}"]
    removed = "".join(f"{name} = nil\n" for name in _LIBRARIES)
    # Strings have methods by their library, which Argo CD does not load.
    whole = (
        f"local write = io.write\ngetmetatable('').__index = nil\n{removed}"
        f"obj = {lua(thing)}\nlocal function check()\n{script}\nend\n"
        "local hs = check()\nwrite(hs.status, '\\n', hs.message)\n"
    )
    root = unpacked("lua", "lua5.1")
    done = subprocess.run(
        [root / "usr/bin/lua5.1", "-"],
        input=whole.encode(),
        capture_output=True,
        env=dict(environment(root)),
        check=False,
    )
    assert done.returncode == 0, done.stderr.decode()
    status, _, message = done.stdout.decode().partition("\n")
    return status, message


def template(state: State | None, generation: int = 5, of: int = 5) -> dict[str, Any]:
    """A template, and what a watcher wrote on it of a generation."""
    thing = deployment(generation=generation)
    thing["metadata"]["labels"] = {"aviary.dev/template": "true"}
    thing["status"] = {"observedGeneration": generation, "replicas": 0}
    if state is not None:
        about = reference_of(deployment(generation=of))
        report = Report(state, "verdict FAIL: errors 7 %")
        text = Written(about, report, "shop-42").text
        thing["status"]["conditions"] = conditions_of(report, text, {}, AT)
    return thing


_SHOWN = {
    State.FINALIZED: "Healthy",
    State.PAUSED: "Suspended",
    State.ROLLED_BACK: "Degraded",
    State.STUCK: "Degraded",
    State.REFUSED: "Degraded",
}


@pytest.mark.parametrize("state", list(State))
def test_each_state_is_shown(state: State) -> None:
    status, message = health(template(state))
    assert status == _SHOWN.get(state, "Progressing")
    assert message == f"{state}: generation 5: release shop-42: verdict FAIL: errors 7 %"


@pytest.mark.parametrize(("generation", "of"), [(6, 5), (5, 50), (51, 5), (5, 4)])
def test_what_was_written_of_another_generation_is_not_shown(generation: int, of: int) -> None:
    assert health(template(State.FINALIZED, generation, of))[0] == "Progressing"


def test_a_template_that_no_watcher_has_seen_is_progressing() -> None:
    assert health(template(None))[0] == "Progressing"


def test_a_pod_template_has_annotations() -> None:
    thing = template(None)
    said = {
        "aviary.dev/status": "RolledBack",
        "aviary.dev/status-text": "generation 5: release shop-42: went back",
    }
    pods = {"kind": "PodTemplate", "metadata": thing["metadata"] | {"annotations": said}}
    assert health(pods)[0] == "Degraded"
    del pods["metadata"]["labels"]
    assert health(pods)[0] == "Healthy"


@pytest.mark.parametrize(
    ("status", "shown"),
    [
        ({"observedGeneration": 1}, "Progressing"),
        ({"observedGeneration": 2, "updatedReplicas": 1, "replicas": 2}, "Progressing"),
        ({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 3}, "Progressing"),
        ({"observedGeneration": 2, "updatedReplicas": 2, "replicas": 2}, "Progressing"),
        (
            {
                "observedGeneration": 2,
                "updatedReplicas": 2,
                "replicas": 2,
                "availableReplicas": 2,
                "conditions": [{"type": "Progressing", "reason": "NewReplicaSetAvailable"}],
            },
            "Healthy",
        ),
        (
            {
                "observedGeneration": 2,
                "conditions": [{"type": "Progressing", "reason": "ProgressDeadlineExceeded"}],
            },
            "Degraded",
        ),
    ],
)
def test_other_deployments_are_judged_as_argo_cd_does(status: dict[str, Any], shown: str) -> None:
    thing = deployment(generation=2, replicas=2)
    assert health(thing | {"status": status})[0] == shown
    paused = thing | {"spec": thing["spec"] | {"paused": True}, "status": status}
    assert health(paused)[0] == "Suspended"
