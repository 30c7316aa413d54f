"""Files that are written whole, and one writer at a time, among real processes."""

from __future__ import annotations

import errno
import os
import resource
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from multiprocessing import get_context
from pathlib import Path

import pytest

from adapters.errors import Retryable, StaleGeneration
from adapters.routers.envoy.file import RouteFile
from adapters.routers.envoy.fleet import EnvoyFleet, Pool
from adapters.routers.envoy.routes import local_domains
from adapters.routers.files import locked, read_document, write_whole
from schemas.route import Route

ROOT = Path(__file__).parents[3]


def names(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


def prepare(directory: Path) -> RouteFile:
    """A fleet with one service in two versions, on stable."""
    fleet = EnvoyFleet(directory)
    fleet.bootstrap(9901, 10000)
    endpoints = (("127.0.0.1", 1),)
    pools = [Pool(service="cart", version=version, endpoints=endpoints) for version in ("1", "2")]
    fleet.set_pools(pools)
    file = RouteFile(directory, local_domains, lock_within=30)
    file.register(Route.split(service="cart", stable="1"))
    return file


def test_what_was_written_is_read_and_nothing_is_left_over(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    for document in ({"a": 1}, {"b": [None, "é"]}):
        write_whole(path, document)
        assert read_document(path) == document
    assert names(tmp_path) == {"a.yaml"}
    assert path.stat().st_mode & 0o777 == 0o644


@pytest.mark.parametrize("step", ["fsync", "fchmod"])
def test_a_full_disk_is_named_and_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    path = tmp_path / "a.yaml"
    write_whole(path, {"old": True})

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patch:
        patch.setattr(os, step, full)
        with pytest.raises(Retryable, match=r"a\.yaml: No space left on device"):
            write_whole(path, {"new": True})

    assert read_document(path) == {"old": True}
    assert names(tmp_path) == {"a.yaml"}


def write_beyond_the_limit(directory: str) -> str:
    """Write more than this process may, and return the error."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))
    with pytest.raises(Retryable) as caught:
        write_whole(Path(directory) / "a.yaml", {"new": "x" * 5000})
    return str(caught.value)


def test_a_write_that_the_system_cuts_short_changes_nothing(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.yaml", {"old": True})
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        error = pool.submit(write_beyond_the_limit, str(tmp_path)).result()
    assert error == f"{tmp_path / 'a.yaml'}: File too large"
    assert read_document(tmp_path / "a.yaml") == {"old": True}
    assert names(tmp_path) == {"a.yaml"}


def test_a_directory_that_vanished_is_named(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    for call in (
        lambda: write_whole(gone / "a.yaml", {}),
        lambda: read_document(gone / "a.yaml"),
        lambda: locked(gone, 1).__enter__(),
    ):
        with pytest.raises(Retryable, match=r"gone.*: No such file or directory"):
            call()


@pytest.mark.parametrize("content", ["", "{", "[]", "\x00", "[" * 100_000])
def test_a_damaged_file_is_named(tmp_path: Path, content: str) -> None:
    path = tmp_path / "a.yaml"
    path.write_text(content)
    with pytest.raises(Retryable, match=r"a\.yaml: expected"):
        read_document(path)


@pytest.mark.parametrize("resources", [[], [{}, {}], None])
def test_a_route_file_must_hold_one_configuration(tmp_path: Path, resources: object) -> None:
    file = prepare(tmp_path)
    write_whole(tmp_path / "rds.yaml", {"resources": resources})
    with pytest.raises(Retryable, match="expected exactly one route configuration"):
        file.read("cart")


def test_a_lock_that_is_held_is_waited_for_and_then_reported(tmp_path: Path) -> None:
    ticks = iter((0.0, 0.5, 1.0))
    with locked(tmp_path, 1):
        waiting = locked(tmp_path, 1, clock=lambda: next(ticks))
        with pytest.raises(Retryable, match="another writer has held the lock"):
            waiting.__enter__()
    assert list(ticks) == []
    with locked(tmp_path, 0):
        pass


def test_a_killed_writer_leaves_no_lock(tmp_path: Path) -> None:
    holder = (
        "import sys, time; from pathlib import Path; from adapters.routers.files import locked\n"
        "with locked(Path(sys.argv[1]), 5): print('held', flush=True); time.sleep(60)"
    )
    command = [sys.executable, "-c", holder, str(tmp_path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "held\n"
        with pytest.raises(Retryable), locked(tmp_path, 0):
            pytest.fail("the lock was free")
        process.kill()
    with locked(tmp_path, 5):
        pass


def climb(directory: str, owner: str) -> list[int]:
    """Try every generation; return those that got through the fence."""
    file = RouteFile(Path(directory), local_domains, lock_within=30)
    won = []
    for generation in range(1, 41):
        weight = generation / 100
        route = Route.split(
            service="cart",
            stable="1",
            canary="2",
            weight=weight,
            generation=generation,
            owner=owner,
        )
        try:
            file.write(route)
        except StaleGeneration:
            continue
        won.append(generation)
    return won


def test_no_two_processes_get_one_generation_through(tmp_path: Path) -> None:
    file = prepare(tmp_path)
    owners = ["a", "b", "c"]
    with ProcessPoolExecutor(len(owners), mp_context=get_context("spawn")) as pool:
        results = [pool.submit(climb, str(tmp_path), owner) for owner in owners]
        won = Counter(generation for result in results for generation in result.result())
    assert set(won.values()) == {1}
    assert won[40] == 1
    assert file.read("cart").generation == 40


def climb_alone(directory: str, service: str) -> list[int]:
    """Write the route of a service of one's own; return the generations that were lost again."""
    file = RouteFile(Path(directory), local_domains, lock_within=30)
    lost = []
    for generation in range(1, 151):
        file.write(
            Route.split(service=service, stable="1", generation=generation, owner="me"), None
        )
        if file.read(service).generation != generation:
            lost.append(generation)
    return lost


def no_trick(_directory: Path, _outside: Path) -> None:
    """Leave the folder alone."""


def take_lock_away(directory: Path, _outside: Path) -> None:
    (directory / ".lock").unlink(missing_ok=True)


def link_lock_elsewhere(directory: Path, outside: Path) -> None:
    take_lock_away(directory, outside)
    with suppress(FileExistsError):
        (directory / ".lock").symlink_to(outside / "lock")


def take_unknown_away(directory: Path, outside: Path) -> None:
    for path in directory.iterdir():
        if path.suffix not in {".yaml", ".tmp"}:
            path.unlink(missing_ok=True)
    (directory / "stray").write_text("")


@pytest.mark.parametrize(
    "trick", [no_trick, take_lock_away, link_lock_elsewhere, take_unknown_away]
)
def test_whatever_lies_in_the_folder_no_acknowledged_write_is_lost(
    tmp_path: Path, trick: Callable[[Path, Path], None]
) -> None:
    directory, outside = tmp_path / "envoy", tmp_path / "outside"
    directory.mkdir()
    outside.mkdir()
    prepare(directory)
    services = ["ledger", "payments"]
    fleet = EnvoyFleet(directory)
    for service in services:
        fleet.put_pool(Pool(service=service, version="1", endpoints=(("127.0.0.1", 1),)))
        RouteFile(directory, local_domains, lock_within=30).register(
            Route.split(service=service, stable="1")
        )
    with ProcessPoolExecutor(len(services), mp_context=get_context("spawn")) as pool:
        results = [pool.submit(climb_alone, str(directory), service) for service in services]
        while not all(result.done() for result in results):
            trick(directory, outside)
        assert [result.result() for result in results] == [[], []]
    assert names(outside) == set()


def test_a_folder_that_took_the_place_of_another_is_the_one_that_is_locked(tmp_path: Path) -> None:
    directory, old = tmp_path / "envoy", tmp_path / "old"
    directory.mkdir()
    with locked(directory, 1):
        directory.rename(old)
        directory.mkdir()
        with locked(directory, 0), pytest.raises(Retryable), locked(directory, 0):
            pytest.fail("two writers")


def test_a_writer_that_waits_sees_that_the_folder_was_replaced(tmp_path: Path) -> None:
    directory, old = tmp_path / "envoy", tmp_path / "old"
    directory.mkdir()
    looks = 0

    def clock() -> float:
        nonlocal looks
        looks += 1
        if looks == 2:
            directory.rename(old)
            directory.mkdir()
        return float(looks)

    with locked(directory, 1), locked(directory, 10, clock=clock):
        assert looks < 10
        with pytest.raises(Retryable), locked(directory, 0):
            pytest.fail("it holds the lock of the old folder")
