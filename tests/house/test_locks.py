"""The lock files: complete, hashed, and free of where packages are fetched from."""

import re
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = ("requirements.lock", "requirements-dev.lock")


def entries(lock: str) -> Iterator[tuple[Requirement, list[str]]]:
    """Each requirement of a lock with its hashes."""
    text = (ROOT / lock).read_text().replace("\\\n", " ")
    for line in text.splitlines():
        spec, *hashes = line.split("--hash=")
        yield Requirement(spec.strip()), [value.strip() for value in hashes]


def applying(lock: str) -> dict[str, Requirement]:
    """What the lock installs here, by name."""
    environment = {key: str(value) for key, value in default_environment().items()}
    return {
        canonicalize_name(requirement.name): requirement
        for requirement, _ in entries(lock)
        if requirement.marker is None or requirement.marker.evaluate(environment)
    }


def wanted(*extras: str) -> list[Requirement]:
    """What pyproject.toml asks for, without the project's own name."""
    lines = list(PROJECT["dependencies"])
    for extra in extras:
        lines += PROJECT["optional-dependencies"][extra]
    requirements = [Requirement(line) for line in lines]
    return [requirement for requirement in requirements if requirement.name != PROJECT["name"]]


@pytest.mark.parametrize("lock", LOCKS)
def test_every_package_has_one_version_and_hashes(lock: str) -> None:
    locked = list(entries(lock))
    assert locked
    for requirement, hashes in locked:
        assert re.fullmatch(r"==[^,*]+", str(requirement.specifier)), requirement
        assert hashes, requirement
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", value) for value in hashes), requirement


@pytest.mark.parametrize("lock", LOCKS)
def test_says_nothing_of_where_packages_come_from(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert " @ " not in text
    assert not re.search(
        r"^\s*(-i|-f|--(extra-)?index-url|--find-links|--trusted-host)\b", text, re.MULTILINE
    )


@pytest.mark.parametrize(
    ("lock", "extras"), [("requirements.lock", ()), ("requirements-dev.lock", ("local", "dev"))]
)
def test_covers_what_the_project_asks_for(lock: str, extras: tuple[str, ...]) -> None:
    locked = applying(lock)
    for requirement in wanted(*extras):
        found = locked.get(canonicalize_name(requirement.name))
        assert found is not None, f"{requirement.name} is not in {lock}: run make lock"
        version = str(found.specifier).removeprefix("==")
        assert requirement.specifier.contains(version, prereleases=True), f"{found}: run make lock"


def test_development_runs_on_the_versions_that_ship() -> None:
    development = applying("requirements-dev.lock")
    for name, requirement in applying("requirements.lock").items():
        assert development[name].specifier == requirement.specifier
