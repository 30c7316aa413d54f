"""The files that pipelines take over, run: by the Groovy of Jenkins, and by a runner of GitLab's.

`aviary` is a script here that says what it was asked; that the command itself takes a release
through is tested in `tests/e2e/test_pipeline_jobs.py`.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from aviary.local import debian, npm
from schemas.commit import COMMITTED, LABELS
from tests.groups import ROOT

HERE = Path(__file__).parent
STEP = ROOT / "deploy/pipeline/jenkins/vars/aviaryDeploy.groovy"
COMPONENT = ROOT / "deploy/pipeline/gitlab/templates/aviary-deploy.yml"
WAITS = 5
"""Exit code of `aviary deploy` where a person is waited for."""
SHA = "a" * 40
GIVEN = {
    "server": "https://webhook.example",
    "credentials": "aviary-token",
    "release": "shop-7",
    "services": ["checkout=1.4.2", "cart=2.0.0"],
    "labels": {"commit": SHA, "repository": "acme/shop"},
}
_AVIARY = """#!/bin/sh
printf '%s\\n' "$@" >'{folder}/asked'
printf '%s' "$AVIARY_SERVER" >'{folder}/server'
printf '%s' "${{AVIARY_TOKEN:-}}" >'{folder}/token'
echo story >aviary.md
exit {code}
"""
_COPY = """#!/bin/sh
for last; do :; done
mkdir -p "$last" && cp -r .gitlab-ci.yml templates "$last"
"""
"""What the runner needs of rsync, which not every machine has."""


class Command:
    """An `aviary` first on the path."""

    def __init__(self, folder: Path, code: int) -> None:
        self._folder = folder
        self.bin = folder / "bin"
        self.bin.mkdir()
        self.add("aviary", _AVIARY.format(folder=folder, code=code))

    def add(self, name: str, script: str) -> None:
        """One more command."""
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    @property
    def environment(self) -> dict[str, str]:
        return {**os.environ, "PATH": f"{self.bin}:{os.environ['PATH']}"}

    def heard(self, name: str) -> str:
        """`asked`, `server` or `token`; empty: it never ran."""
        file = self._folder / name
        return file.read_text() if file.exists() else ""


@pytest.fixture(scope="module")
def groovy() -> Path:
    """The jar, fetched by Maven at first use, 7 MB."""
    if missing := [name for name in ("java", "mvn") if shutil.which(name) is None]:
        pytest.skip(f"not installed: {', '.join(missing)}")
    folder = debian.cache_folder().absolute() / "groovy-2.4.21"
    with debian.locked(folder.with_suffix(".lock")):
        if not folder.is_dir():
            plugin = "org.apache.maven.plugins:maven-dependency-plugin:3.8.1:copy-dependencies"
            fresh = folder.with_name(f"{folder.name}.new")
            pom = ("-f", str(HERE / "jenkins/pom.xml"), plugin, f"-DoutputDirectory={fresh}")
            subprocess.run(["mvn", "-q", "-B", "-C", *pom], check=True, capture_output=True)
            fresh.rename(folder)
    (jar,) = folder.glob("groovy-all-*.jar")
    return jar


def step(groovy: Path, command: Command, folder: Path, **given: Any) -> dict[str, Any]:
    """What a build of Jenkins hears of the step."""
    program = ("java", "-cp", str(groovy), "groovy.ui.GroovyMain", str(HERE / "jenkins/run.groovy"))
    done = subprocess.run(
        [*program, str(STEP), json.dumps(given)],
        cwd=folder,
        env=command.environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    heard: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return heard


@pytest.mark.parametrize("code", [0, WAITS, 3])
def test_the_step_of_jenkins_asks_and_ends_the_build_as_the_release_did(
    groovy: Path, tmp_path: Path, code: int
) -> None:
    command = Command(tmp_path, code)
    heard = step(groovy, command, tmp_path, **GIVEN, until="person")
    expected = "deploy --release shop-7 --service checkout=1.4.2 --service cart=2.0.0"
    commit = f"--label commit={SHA} --label repository=acme/shop"
    rest = f"{commit} --until person --timeout 1h --summary aviary.md"
    assert command.heard("asked").split("\n") == [*f"{expected} {rest}".split(), ""]
    assert command.heard("server") == "https://webhook.example"
    assert command.heard("token") == "secret of aviary-token"
    assert heard["archived"] == [{"artifacts": "aviary.md", "allowEmptyArchive": True}]
    assert heard["unstable"] == (["the release waits for a person"] if code == WAITS else [])
    assert heard["errors"] == (["aviary deploy ended with 3"] if code == 3 else [])
    assert heard["returned"] == (None if code == 3 else code)


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ({"release": ""}, "release is missing"),
        ({"services": ["checkout=1;id"]}, "expected SERVICE=VERSION, got checkout=1;id"),
        ({"services": ["$(id)=1"]}, "expected SERVICE=VERSION, got $(id)=1"),
        ({"labels": {"ref": "a;id"}}, "got ref=a;id"),
    ],
)
def test_the_step_of_jenkins_refuses_what_is_no_release(
    groovy: Path, tmp_path: Path, given: dict[str, Any], text: str
) -> None:
    command = Command(tmp_path, 0)
    heard = step(groovy, command, tmp_path, **GIVEN | given)
    (error,) = heard["errors"]
    assert text in error
    assert command.heard("asked") == ""


def test_a_release_id_of_shell_words_reaches_the_command_as_one_word(
    groovy: Path, tmp_path: Path
) -> None:
    command = Command(tmp_path, 0)
    step(groovy, command, tmp_path, **GIVEN | {"release": "$(id) \"; 'x"})
    assert command.heard("asked").split("\n")[2] == "$(id) \"; 'x"


@pytest.fixture(scope="module")
def runner() -> Path:
    """A runner of GitLab's pipelines; fetched at first use, 18 MB."""
    try:
        return npm.installed("gitlab-ci-local", HERE / "gitlab") / "node_modules/.bin"
    except npm.NpmError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(("code", "ended"), [(0, "PASS"), (WAITS, "WARN"), (3, "FAIL")])
def test_the_component_of_gitlab_runs_and_ends_the_job_as_the_release_did(
    runner: Path, tmp_path: Path, code: int, ended: str
) -> None:
    command = Command(tmp_path, code)
    command.add("rsync", _COPY)
    project = tmp_path / "project"
    (project / "templates").mkdir(parents=True)
    shutil.copy(COMPONENT, project / "templates")
    given = {
        "server": "https://webhook.example",
        "audience": "https://aviary.example",
        "image": "registry.example/aviary:1",
        "services": "--service checkout=1.4.2",
        "until": "person",
    }
    included = {"local": "templates/aviary-deploy.yml", "inputs": given}
    (project / ".gitlab-ci.yml").write_text(json.dumps({"include": [included]}))
    git = ("git", "-c", "user.name=a", "-c", "user.email=a@shop.example")
    for words in (
        ("init", "-q", "-b", "main"),
        ("remote", "add", "origin", "git@gitlab.example:shop/checkout.git"),
        ("add", "."),
        ("commit", "-qm", "Have a pipeline"),
    ):
        subprocess.run([*git, *words], cwd=project, check=True)
    done = subprocess.run(
        [str(runner / "gitlab-ci-local"), "--force-shell-executor", "aviary-deploy"],
        cwd=project,
        env=command.environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    asked = command.heard("asked").split()
    assert asked[:2] == ["deploy", "--release"], said
    assert asked[2].startswith("shop-checkout-")
    assert asked[3:5] == ["--service", "checkout=1.4.2"]
    labels = dict(one.split("=", 1) for one in asked[6:13:2])
    assert asked[5:12:2] == ["--label"] * 4
    assert labels["repository"] == "shop/checkout"
    assert labels.keys() == {*LABELS, COMMITTED}
    assert asked[13:] == ["--until", "person", "--timeout", "1h", "--summary", "aviary.md"]
    assert command.heard("server") == "https://webhook.example"
    marks = {word for word in ("PASS", "WARN", "FAIL") if f" {word} " in said}
    assert marks == {ended}, said
    assert (project / "aviary.md").read_text() == "story\n", "kept, however the job ended"
