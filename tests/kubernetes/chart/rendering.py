"""What Helm makes of the chart; run, it writes the kustomize base anew."""

from __future__ import annotations

import asyncio
import copy
import os
import subprocess
import tempfile
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import yaml

from aviary.local import debian
from aviary.local.kubernetes.clients import ClientTools, install_clients

ROOT: Final = Path(__file__).parents[3]
CHART: Final = ROOT / "deploy/helm/aviary"
BASE: Final = ROOT / "deploy/kustomize/base"
NAMESPACE: Final = "aviary"
_HELM: Final = {"app.kubernetes.io/managed-by", "helm.sh/chart", "helm.sh/resource-policy"}
"""Labels and annotations that are Helm's alone."""
_HEAD: Final = """\
# Written by `python -m tests.kubernetes.chart.rendering`: the chart as it is with its own values.
"""

Json = dict[str, Any]


def run(program: Path, *words: str | Path, text: str = "") -> subprocess.CompletedProcess[str]:
    """Run a program to its end; what it keeps is in a folder that is gone then."""
    command = [str(program), *map(str, words)]
    with tempfile.TemporaryDirectory() as home:
        env = {"PATH": os.environ["PATH"], "HOME": home}
        return subprocess.run(
            command, input=text, capture_output=True, text=True, check=False, env=env
        )


def render(tools: ClientTools, *words: str, namespace: str = NAMESPACE) -> list[Json]:
    """The objects of the chart with such values."""
    return [one for one in yaml.safe_load_all(_rendered(tools, namespace, words)) if one]


@lru_cache
def _rendered(tools: ClientTools, namespace: str, words: tuple[str, ...]) -> str:
    done = run(tools.helm, "template", "aviary", CHART, "--namespace", namespace, *words)
    assert done.returncode == 0, done.stderr
    return done.stdout


def without_helm(thing: Json) -> Json:
    """The same object without what only Helm needs."""
    found = copy.deepcopy(thing)
    about = found["metadata"]
    for kind in ("labels", "annotations"):
        kept = {name: said for name, said in about.get(kind, {}).items() if name not in _HELM}
        about.pop(kind, None)
        if kept:
            about[kind] = kept
    return found


def by_name(things: list[Json]) -> dict[str, Json]:
    """Objects by kind, namespace and name."""
    return {
        f"{one['kind']} {one['metadata'].get('namespace')}/{one['metadata']['name']}": one
        for one in things
    }


def write_base(tools: ClientTools) -> None:
    """Write the kustomize base, a file for each kind."""
    things: dict[str, list[Json]] = {}
    for one in render(tools):
        things.setdefault(f"{one['kind'].lower()}.yaml", []).append(without_helm(one))
    for name, some in things.items():
        (BASE / name).write_text(_HEAD + yaml.safe_dump_all(some, sort_keys=False))
    said = {
        "apiVersion": "kustomize.config.k8s.io/v1beta1",
        "kind": "Kustomization",
        "resources": sorted(things),
    }
    (BASE / "kustomization.yaml").write_text(_HEAD + yaml.safe_dump(said, sort_keys=False))


if __name__ == "__main__":
    write_base(asyncio.run(install_clients(debian.cache_folder(), print)))
