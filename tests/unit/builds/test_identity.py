"""The build ID: the same for the same decisions, another for others."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from aviary import __version__
from aviary.builds.identity import deployment_of, digest, own_build_id, version_of
from aviary.settings import Settings, SettingsError, load_settings

ROOT = Path(__file__).parents[3]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    for package in ("workflows", "schemas", "activities", "adapters", "aviary"):
        shutil.copytree(ROOT / package, tmp_path / package)
    return tmp_path


def test_a_copy_of_the_code_is_the_same_build(copy: Path) -> None:
    assert digest(copy) == digest(ROOT)
    assert own_build_id() == f"{__version__}-{digest(ROOT)[:12]}"


@pytest.mark.parametrize(
    ("file", "another"),
    [
        ("workflows/release.py", True),
        ("schemas/release.py", True),
        ("activities/traffic.py", True),
        ("aviary/sandbox.py", True),
        ("aviary/cli/releases.py", False),
        ("adapters/errors.py", False),
    ],
)
def test_what_decides_whether_a_history_replays_makes_a_build(
    copy: Path, file: str, another: bool
) -> None:
    with (copy / file).open("a") as source:
        source.write("\n# another\n")
    assert (digest(copy) != digest(ROOT)) is another


def test_a_deployment_is_named_like_its_task_queue_without_dots() -> None:
    assert deployment_of(Settings(task_queue="aviary.eu")) == "aviary-eu"
    assert deployment_of(Settings(task_queue="aviary.eu", deployment="ours")) == "ours"


def test_a_build_id_may_be_given_or_none() -> None:
    given = version_of(Settings(build_id="v1.2.3"))
    assert given is not None
    assert given.build_id == "v1.2.3"
    assert version_of(Settings(build_id="off")) is None


@pytest.mark.parametrize("wrong", [{"build_id": "a b"}, {"deployment": "a.b"}, {"build_gone_s": 1}])
def test_a_wrong_setting_names_itself(wrong: dict[str, object]) -> None:
    with pytest.raises(SettingsError, match=f"AVIARY_{next(iter(wrong)).upper()}"):
        load_settings(**wrong)
