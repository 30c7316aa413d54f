"""The Dockerfile: read by Docker's own parser, linted, and its steps done in a folder.

No image is built, since that needs a registry: the base image and the account are not exercised.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from fnmatch import fnmatch
from pathlib import Path

import dockerfile
import pytest

ROOT = Path(__file__).parents[2]
STEPS: list[dockerfile.Command] = list(dockerfile.parse_file(str(ROOT / "Dockerfile")))
IMPORT_ALL = """
import importlib, pkgutil, sys
package = importlib.import_module(sys.argv[1])
names = [found.name for found in pkgutil.walk_packages(package.__path__, package.__name__ + ".")]
extra = ("aviary.local", "aviary.cli.demo")  # what needs the extra "local"
names = [name for name in names if not name.startswith(extra)]
for name in names:
    importlib.import_module(name)
print(len(names))
"""
HADOLINT = Path(sys.executable).parent / "hadolint"


def steps(name: str) -> list[dockerfile.Command]:
    """The steps of one kind, in their order."""
    return [step for step in STEPS if step.cmd.upper() == name]


def copied() -> list[tuple[list[str], str]]:
    """Sources and target of each copy from the repository."""
    return [(list(step.value[:-1]), step.value[-1]) for step in steps("COPY") if not step.flags]


def kept(source: str) -> bool:
    """Whether .dockerignore sends this path to the build: its last rule that matches decides."""
    result = True
    for line in (ROOT / ".dockerignore").read_text().splitlines():
        rule = line.removeprefix("!")
        if rule and not rule.startswith("#") and fnmatch(source, rule):
            result = line.startswith("!")
    return result


def test_is_clean_for_hadolint() -> None:
    done = subprocess.run(
        [str(HADOLINT), str(ROOT / "Dockerfile")], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_base_images_are_pinned_to_a_patch_release() -> None:
    bases = [step.value[0] for step in steps("FROM")]
    assert len(bases) == 2
    assert all(re.fullmatch(r"python:3\.\d+\.\d+-slim-\w+", base) for base in bases)


def test_runs_as_nobody_special() -> None:
    assert [step.value for step in steps("USER")] == [("10001:10001",)]
    assert steps("ENTRYPOINT")[0].value == ("python", "-m", "aviary")
    assert len(steps("HEALTHCHECK")) == 1


def test_packages_are_checked_against_the_lock() -> None:
    installs = [step.value[0] for step in steps("RUN") if "pip install" in step.value[0]]
    assert len(installs) == 1
    assert "--require-hashes -r requirements.lock" in installs[0]


def test_what_is_copied_exists_and_is_sent_to_the_build() -> None:
    sources = [source for group, _ in copied() for source in group]
    assert "aviary" in sources
    assert [source for source in sources if not (ROOT / source).exists()] == []
    assert [source for source in sources if not kept(source)] == []


def test_every_package_of_the_project_is_copied() -> None:
    targets = {target for _, target in copied()}
    assert {"schemas", "analysis", "adapters", "activities", "workflows", "aviary"} <= targets


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the image would be: packages of the lock, and the files that are copied."""
    folder = tmp_path_factory.mktemp("image")
    # Another account must be able to get in: pytest makes its folders private.
    for parent in (folder, *folder.parents):
        if parent.is_relative_to(tempfile.gettempdir()) and not parent.is_mount():
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH)
    work = folder / "build"
    for sources, target in copied():
        base = work if target == "./" and "requirements.lock" in sources else folder / "app"
        for source in sources:
            place = base / (source if target == "./" else target)
            place.parent.mkdir(parents=True, exist_ok=True)
            if (ROOT / source).is_dir():
                shutil.copytree(ROOT / source, place, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / source, place)
    install = next(step.value[0] for step in steps("RUN") if "pip install" in step.value[0])
    command = install.replace("/opt/aviary", str(folder / "opt/aviary"))
    command = command.replace("python -m venv", f"{sys.executable} -m venv", 1)
    done = subprocess.run(
        ["/bin/sh", "-c", command], cwd=work, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def reached_by_all(folder: Path) -> bool:
    """Whether another account gets to this folder: a Python below a home may be private."""
    return all(place.stat().st_mode & stat.S_IXOTH for place in (folder, *folder.parents))


def as_image(image: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the entry point as the image does."""
    return in_image(image, *steps("ENTRYPOINT")[0].value[1:], *arguments)


def in_image(image: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run Python as the image has it: its packages, its folder, no rights."""
    reached = reached_by_all(Path(sys.base_prefix)) and reached_by_all(image)
    nobody = 65534 if os.geteuid() == 0 and reached else None
    return subprocess.run(
        [str(image / "opt/aviary/bin/python"), *arguments],
        cwd=image / "app",
        env={"PYTHONDONTWRITEBYTECODE": "1", "HOME": "/nonexistent", "LANG": "C.UTF-8"},
        user=nobody,
        group=nobody,
        extra_groups=[] if nobody else None,
        capture_output=True,
        text=True,
        check=False,
    )


def test_the_lock_alone_is_enough_to_run(image: Path) -> None:
    done = as_image(image, "version")
    assert done.returncode == 0, done.stderr
    assert re.search(r"\d+\.\d+\.\d+", done.stdout)


@pytest.mark.parametrize("role", ["worker", "bridge", "webhook", "serve"])
def test_every_role_is_there(image: Path, role: str) -> None:
    done = as_image(image, role, "--help")
    assert (done.returncode, done.stderr) == (0, "")
    assert f"aviary {role}" in " ".join(done.stdout.split())


@pytest.mark.parametrize("package", [target for _, target in copied() if target.isidentifier()])
def test_every_module_finds_what_it_imports(image: Path, package: str) -> None:
    """The roles import most of it late: their help says nothing of that."""
    done = in_image(image, "-c", IMPORT_ALL, package)
    assert (done.returncode, done.stderr) == (0, "")
    assert int(done.stdout) > 2
