"""What docs/contributing.md says of adapters and stages: done to a copy of the code, it works."""

import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.contract.outside import capabilities_of, outside
from tests.guide import PAGE, changed, shown

ROOT = PAGE.parents[1]
IGNORED = "--ignore=ASYNC240,D102,INP001,S311,ARG002"
"""Slow disks, docstrings, and what holds for an example of another package."""
CODE = ("schemas", "workflows", "activities", "adapters", "analysis", "aviary")

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


def _apply(path: Path, hunk: str) -> None:
    lines = hunk.splitlines(keepends=True)
    before = "".join(line[1:] for line in lines if line[0] != "+")
    after = "".join(line[1:] for line in lines if line[0] != "-")
    text = path.read_text()
    assert text.count(before) == 1, f"{path.name}: expected once:\n{before}"
    path.write_text(text.replace(before, after))


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The code with everything done to it that the page says, and the tests."""
    copied = tmp_path_factory.mktemp("copy")
    for name in (*CODE, "tests", "docs"):
        shutil.copytree(ROOT / name, copied / name)
    shutil.copy(ROOT / "pyproject.toml", copied)
    for name, text in shown().items():
        path = copied / name
        assert not path.exists()
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    for name, hunks in changed():
        for hunk in hunks:
            _apply(copied / name, hunk)
    return copied


def _python(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments],
        cwd=copy,
        env={"PYTHONPATH": str(copy), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_router_and_a_pack_added_as_described_work(copy: Path, tmp_path: Path) -> None:
    routes = tmp_path / "routes"
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


def test_what_is_described_is_linted_like_our_own(copy: Path) -> None:
    files = sorted({*shown(), *(name for name, _ in changed())})
    python = [name for name in files if name.endswith(".py")]
    assert len(python) >= 10
    for command in (["check", IGNORED], ["format", "--check", "--diff"]):
        done = _python(copy, "-m", "ruff", *command, *python)
        assert done.returncode == 0, done.stdout


CALL = """
from adapters.connections import Connection
from adapters.hooks.line import LineConnection
from aviary.catalogs import make_catalog
from aviary.kinds import registry

hook = {"name": "ask", "when": "before_canary", "call": {"kind": "line", "connection": "prod"}}
prod = LineConnection(host="ops.example", port=7)
document = {
    "version": 1,
    "defaults": {"router": {"kind": "memory"}, "metrics": []},
    "services": {"ledger": {"hooks": [hook]}},
}
catalog = make_catalog(document, {"prod": prod})
(found,) = catalog.resolve("ledger").hooks
kind = registry().hooks.get(found.call.kind)
made = kind.make(kind.options(), prod, None)
print(type(made).__name__)
"""


def test_the_described_hook_is_one(copy: Path) -> None:
    done = _python(copy, "-c", CALL)
    assert done.stdout == "LineHook\n", done.stderr


def test_a_package_runs_the_suite_with_its_own_subject(copy: Path) -> None:
    subject = "our_package.testing:FolderSubject"
    suite = [f"tests/contract/routers/test_{one}.py" for one in ("core", "counts", "claims")]
    done = _pytest(copy, *suite, "--subject", subject)
    assert done.returncode == 0, done.stdout
    assert "outside: 1 of " in done.stdout
    counted = re.search(r"(\d+) passed, (\d+) deselected", done.stdout)
    assert counted is not None, done.stdout
    passed, left = map(int, counted.groups())
    assert passed >= 20
    assert left < 10, "those of this repository's own subjects are not made at all"


OTHERS = """
from typing import Self

from tests.contract.deployers.subjects import MemorySubject as Deployer
from tests.contract.hooks.subjects import MemorySubject as Hook
from tests.contract.metrics.subjects import MemorySubject as Metrics
from tests.contract.notifiers.subjects import Memory as Notifier


class Ours:
    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        pass


class OurDeployer(Ours, Deployer):
    pass


class OurHook(Ours, Hook):
    pass


class OurMetrics(Ours, Metrics):
    pass


class OurNotifier(Ours, Notifier):
    pass


class Mute(OurNotifier):
    def arrived(self) -> list[str]:
        return []
"""


@pytest.mark.parametrize(
    ("port", "subject", "at_least"),
    [
        ("deployers", "OurDeployer", 45),
        ("hooks", "OurHook", 15),
        ("metrics", "OurMetrics", 5),
        ("notifiers", "OurNotifier", 6),
    ],
)
def test_a_package_runs_the_suite_of_each_other_port(
    copy: Path, port: str, subject: str, at_least: int
) -> None:
    (copy / "our_package/others.py").write_text(OTHERS)
    done = _pytest(copy, f"tests/contract/{port}", "--subject", f"our_package.others:{subject}")
    assert done.returncode == 0, done.stdout
    counted = re.search(r"(\d+) passed, .*deselected", done.stdout)
    assert counted is not None, done.stdout
    assert int(counted[1]) >= at_least


def test_a_package_s_adapter_that_breaks_a_promise_fails(copy: Path) -> None:
    (copy / "our_package/others.py").write_text(OTHERS)
    done = _pytest(copy, "tests/contract/notifiers", "--subject", "our_package.others:Mute")
    assert done.returncode == pytest.ExitCode.TESTS_FAILED, done.stdout
    assert "test_it_arrives_once_with_title_and_text[outside]" in done.stdout


def test_a_subject_that_is_not_there_is_said_by_its_name(pytestconfig: pytest.Config) -> None:
    for name in ("no_package:Subject", "tests.guide:Nobody", "x y"):
        option = cast("Any", SimpleNamespace(getoption=lambda *_, name=name: name))
        with pytest.raises(pytest.UsageError, match=f"--subject: got '{name}', expected module:c"):
            outside(option)
    assert outside(pytestconfig) is None
    with pytest.raises(pytest.UsageError, match="has no capabilities"):
        capabilities_of(Path)


def test_a_release_goes_through_the_described_stage_and_back(copy: Path) -> None:
    done = _pytest(copy, "tests/workflows/test_mark.py")
    assert done.returncode == 0, done.stdout


def _pytest(copy: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return _python(copy, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments)


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(
        re.findall(
            r"`((?:schemas|workflows|activities|adapters|analysis|aviary|tests)/[\w/.]+)`",
            PAGE.read_text(),
        )
    )
    assert len(named) > len(CODE)
    assert [name for name in sorted(named - shown().keys()) if not (ROOT / name).exists()] == []
