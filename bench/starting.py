"""Planning of large catalogs, and what each process takes to start and to hold (item 7)."""

from __future__ import annotations

import asyncio
import json
import random
import re
import sys
import time
from asyncio.subprocess import DEVNULL, PIPE
from pathlib import Path
from typing import Final

import yaml

from aviary.catalogs import make_catalog
from aviary.local import parts
from bench import testbed
from bench.figures import Figure, Spec
from bench.testbed import Testbed
from schemas.catalog import Catalog
from schemas.deploy import DeployRequested
from workflows.planning import plan_release

_SORTED: Final = "the standard library's topological order of the same graph"
_READ: Final = "a bare Python that reads the same file"
_IMPORTS: Final = "a bare Python that imports the same libraries, for the bridge joins a group"
SHAPES: Final = ("random graph", "chain")
SIZES: Final = (10, 1_000, 10_000)
PLANS: Final = {
    (shape, size): Spec(f"plan of {size:,} services, {shape}", "ms", _SORTED)
    for shape in SHAPES
    for size in SIZES
}
COMMANDS: Final = {size: Spec(f"`aviary plan` of {size:,} services", "ms", _READ) for size in SIZES}
STARTS: Final = {
    name: Spec(f"start of the {name}, until it is ready", "ms", _IMPORTS)
    for name in ("worker", "bridge", "webhook")
}
MEMORY: Final = {name: Spec(f"memory of the {name}, idle", "MiB", _IMPORTS) for name in STARTS}
SPECS: Final = (*PLANS.values(), *COMMANDS.values(), *STARTS.values(), *MEMORY.values())
_LIBRARIES: Final = {
    "worker": "temporalio.worker, aiokafka, fastapi, uvicorn, httpx, yaml, structlog, pydantic",
    "bridge": "temporalio.client, aiokafka, fastapi, uvicorn, yaml, structlog, pydantic",
    "webhook": "aiokafka, fastapi, uvicorn, yaml, structlog, pydantic",
}
_NEEDS: Final = 3
"""At most so many services that one of a random graph depends on."""
QUICK: Final = 2
LONG: Final = 5


def graph(shape: str, size: int) -> dict[str, list[str]]:
    """Services and what each depends on; random ones are the same each time."""
    dice = random.Random(size)
    names = [f"svc-{n:05}" for n in range(size)]
    if shape == "chain":
        return {name: names[max(0, n - 1) : n] for n, name in enumerate(names)}
    return {
        name: sorted(dice.sample(names[:n], min(n, dice.randrange(_NEEDS + 1))))
        for n, name in enumerate(names)
    }


def plan_ms(catalog: Catalog, needs: dict[str, list[str]]) -> float:
    """Milliseconds to plan a release of every service."""
    asked = [{"service": name, "version": "2"} for name in needs]
    deploy = DeployRequested.model_validate({"release": "all", "services": asked})
    began = time.perf_counter()
    plan_release(catalog, deploy)
    return 1000 * (time.perf_counter() - began)


def sort_ms(needs: dict[str, list[str]]) -> float:
    """Milliseconds of a bare topological order."""
    from graphlib import TopologicalSorter  # noqa: PLC0415 - beside its only use

    began = time.perf_counter()
    tuple(TopologicalSorter(needs).static_order())
    return 1000 * (time.perf_counter() - began)


async def _run(*words: str) -> float:
    """Milliseconds of a Python process.

    Raises:
        RuntimeError: it failed.
    """
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        sys.executable, *words, cwd=parts.ROOT, stdout=DEVNULL, stderr=PIPE
    )
    _, said = await process.communicate()
    if process.returncode:
        raise RuntimeError(f"{' '.join(words)}: {said.decode()}")
    return 1000 * (time.perf_counter() - began)


_JOIN: Final = """
import asyncio, sys
async def join():
    consumer = aiokafka.AIOKafkaConsumer(
        "aviary.alerts", bootstrap_servers=sys.argv[1], group_id=sys.argv[2])
    await consumer.start()
asyncio.run(join())
"""
_TELL: Final = """
import os
print(open("/proc/self/status").read(), flush=True)
os._exit(0)
"""


async def _bare(name: str, bootstrap: str, group: str) -> tuple[float, float]:
    """Milliseconds until a Python process has imported libraries, and the MiB that it holds.

    That of the bridge joins a consumer group as well.
    """
    code = f"import {_LIBRARIES[name]}\n{_JOIN if name == 'bridge' else ''}{_TELL}"
    began = time.perf_counter()
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-c", code, bootstrap, group), stdout=PIPE, stderr=DEVNULL
    )
    said, _ = await process.communicate()
    return 1000 * (time.perf_counter() - began), resident_mib(said.decode())


def resident_mib(status: str) -> float:
    """Resident memory in a `/proc/<pid>/status`.

    Raises:
        ValueError: it does not say.
    """
    found = re.search(r"^VmRSS:\s+(\d+) kB$", status, re.MULTILINE)
    if found is None:
        raise ValueError("VmRSS: not found, expected a line of it")
    return int(found.group(1)) / 1024


def _holds(pid: int) -> float:
    return resident_mib(Path(f"/proc/{pid}/status").read_text(encoding="ascii"))


def _plans(runs: int) -> list[Figure]:
    figures = []
    for (shape, size), spec in PLANS.items():
        needs = graph(shape, size)
        catalog = make_catalog(testbed.catalog(needs, {"steps": [10, 50]}))
        few = 1 if size == SIZES[-1] and runs == QUICK else runs
        ours, floor = [], []
        for _ in range(few):
            ours.append(plan_ms(catalog, needs))
            floor.append(sort_ms(needs))
        figures.append(spec.figure(ours, floor))
    return figures


async def _commands(folder: Path, runs: int) -> list[Figure]:
    figures = []
    for size, spec in COMMANDS.items():
        needs = graph("random graph", size)
        path, deploy = folder / f"{size}.yaml", folder / f"{size}.json"
        path.write_text(yaml.safe_dump(testbed.catalog(needs, {"steps": [10, 50]})))
        asked = [{"service": name, "version": "2"} for name in needs]
        deploy.write_text(json.dumps({"release": "all", "services": asked}))
        read = (
            "import sys, yaml\n"
            "yaml.load(open(sys.argv[1]), getattr(yaml, 'CSafeLoader', yaml.SafeLoader))"
        )
        ours, floor = [], []
        for _ in range(1 if size == SIZES[-1] and runs == QUICK else runs):
            ours.append(
                await _run("-m", "aviary", "plan", "--event", str(deploy), "--catalog", str(path))
            )
            floor.append(await _run("-c", read, str(path)))
        figures.append(spec.figure(ours, floor))
    return figures


async def _starts(here: Testbed, runs: int) -> list[Figure]:
    times: dict[str, list[float]] = {name: [] for name in STARTS}
    memory: dict[str, list[float]] = {name: [] for name in STARTS}
    bare_times: dict[str, list[float]] = {name: [] for name in STARTS}
    bare_memory: dict[str, list[float]] = {name: [] for name in STARTS}
    for number in range(runs):
        # Temporal remembers who asked for tasks of a queue, and Kafka who was in a group.
        fresh = {
            "AVIARY_TASK_QUEUE": f"queue-{number}",
            "AVIARY_KAFKA_GROUP": f"group-{number}",
        }
        for name in STARTS:
            began = time.perf_counter()
            pid = await here.start(name, **fresh)
            times[name].append(1000 * (time.perf_counter() - began))
            memory[name].append(_holds(pid))
            await here.stop(name)
            took, holds = await _bare(name, here.bootstrap, f"bare-{number}")
            bare_times[name].append(took)
            bare_memory[name].append(holds)
    return [
        *(spec.figure(times[name], bare_times[name]) for name, spec in STARTS.items()),
        *(spec.figure(memory[name], bare_memory[name]) for name, spec in MEMORY.items()),
    ]


async def measure(folder: Path, *, long: bool) -> list[Figure]:
    """Plans in this process, the command and the services as processes."""
    runs = LONG if long else QUICK
    described = testbed.catalog({"svc": ()}, {"steps": [50]})
    async with testbed.started(folder, lambda _: described) as here:
        return [
            *_plans(runs),
            *await _commands(folder, runs),
            *await _starts(here, runs),
        ]
