"""Other distributions have packages of our names too: the intruder must be named."""

import subprocess
import sys
from pathlib import Path

import pytest

import aviary

ROOT = Path(aviary.__file__).resolve().parent.parent


def run(*path: Path) -> subprocess.CompletedProcess[str]:
    places = [str(place) for place in path]
    code = f"import sys; sys.path[:0] = {places!r}; from aviary.__main__ import main; main()"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, "version"],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )


def test_all_packages_are_ours() -> None:
    aviary.assert_own_packages()


def test_the_command_line_runs_with_our_packages() -> None:
    done = run(ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("name", [name for name in aviary.PACKAGES if name != "aviary"])
def test_a_foreign_package_before_ours_stops_the_start(name: str, tmp_path: Path) -> None:
    (tmp_path / name).mkdir()
    (tmp_path / name / "__init__.py").touch()
    done = run(tmp_path, ROOT)
    assert done.returncode == 1
    assert f"package {name}: expected" in done.stderr
    assert str(tmp_path / name) in done.stderr
    assert "Traceback" not in done.stderr
