"""What docs/contributing.md says of new adapters: applied to a copy of the code, it works."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/contributing.md").read_text()
CODE = ("schemas", "workflows", "activities", "adapters", "analysis", "aviary")
FILES = {"aviary/kinds.py": 2}
"""The files that a new router changes, in the page's order, with the number of hunks."""

USE = """
import asyncio, httpx, sys
from pathlib import Path
from adapters.errors import StaleGeneration
from adapters.kinds import Shared
from adapters.packs import BUILT_IN
from aviary.catalogs import make_catalog
from aviary.kinds import registry
from aviary.telemetry.ports import WorkerMetrics
from aviary.wiring import Routers
from prometheus_client import CollectorRegistry
from schemas.route import Route

folder = Path(sys.argv[1])
catalog = make_catalog({
    "version": 1,
    "defaults": {
        "router": {"kind": "folder", "directory": str(folder)},
        "judge": {"pack": "folder"},
        "metrics": [{"kind": "ratio", "name": "errors"}],
    },
    "services": {"ledger": None},
})
stable = Route.split("ledger", "1.0.0")
(folder / "ledger.count").write_text('{"1.0.0": 0, "1.1.0": 0}')
(folder / "ledger.json").write_text(stable.model_dump_json())

async def main():
    async with httpx.AsyncClient() as client:
        routers = Routers(registry(), {}, Shared(client), WorkerMetrics(CollectorRegistry()))
        router = routers(catalog.resolve("ledger").router).router
        shifted = Route.split("ledger", "1.0.0", "1.1.0", 5, generation=1)
        await router.apply(shifted)
        assert await router.read("ledger") == shifted
        try:
            await router.apply(stable)
        except StaleGeneration:
            print("works")

assert BUILT_IN.load("folder").queries["errors"].kind == "ratio"
asyncio.run(main())
"""


def _hunks() -> list[str]:
    return re.findall(r"^```diff\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def _apply(path: Path, hunk: str) -> None:
    lines = hunk.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name}: expected once:\n{before}"
    path.write_text(text.replace(before, after))


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The code with everything done to it that the page says."""
    for name in CODE:
        ignored = shutil.ignore_patterns("__pycache__")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    adapter, connection = re.findall(r"^```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "adapters/routers/folder.py").write_text(adapter)
    (tmp_path / "adapters/routers/gateway.py").write_text(connection)
    pack, _ = re.findall(r"^```yaml\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "adapters/packs/folder.yaml").write_text(pack)
    hunks = iter(_hunks())
    for name, count in FILES.items():
        for _ in range(count):
            _apply(tmp_path / name, next(hunks))
    assert list(hunks) == []
    return tmp_path


def _python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_router_and_a_pack_added_as_described_work(copy: Path) -> None:
    routes = copy / "routes"
    routes.mkdir()
    done = _python(copy, "-c", USE, str(routes))
    assert done.stdout == "works\n", done.stderr


CONNECT = """
from dataclasses import replace
from adapters.routers.folder import FOLDER
from adapters.routers.gateway import GatewayConnection
from aviary.descriptions import check_kind

check_kind(replace(FOLDER, connection=GatewayConnection, needs_connection=True))
made = GatewayConnection.model_validate({"url": "https://gateway.example", "token": "hush"})
assert made.token.read() == "hush"
assert "hush" not in repr(made)
print(GatewayConnection.connection_kind)
"""


def test_the_described_connection_is_one(copy: Path) -> None:
    done = _python(copy, "-c", CONNECT)
    assert done.stdout == "gateway\n", done.stderr


def test_the_described_router_is_linted_like_our_own(copy: Path) -> None:
    shutil.copy(ROOT / "pyproject.toml", copy)
    files = ["adapters/routers/folder.py", "adapters/routers/gateway.py", *FILES]
    for command in (["check", "--ignore=ASYNC240,D102"], ["format", "--check", "--diff"]):
        done = _python(copy, "-m", "ruff", *command, *files)
        assert done.returncode == 0, done.stdout


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(
        re.findall(
            r"`((?:schemas|workflows|activities|adapters|analysis|aviary|tests)/[\w/.]+)`", PAGE
        )
    )
    new = {"adapters/routers/folder.py", "adapters/packs/folder.yaml"}
    assert len(named) > len(CODE)
    assert [name for name in sorted(named - new) if not (ROOT / name).exists()] == []
