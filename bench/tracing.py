"""What tracing costs a workflow task: `python bench/tracing.py`.

The floor is the same history replayed without the interceptor. A replay derives every id and all
carriers, and exports nothing; what an export adds is measured by itself.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from pathlib import Path
from statistics import median

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from opentelemetry.sdk.resources import Resource  # noqa: E402
from opentelemetry.sdk.trace.export import BatchSpanProcessor  # noqa: E402
from opentelemetry.sdk.trace.export.in_memory_span_exporter import (  # noqa: E402
    InMemorySpanExporter,
)
from temporalio.client import WorkflowHistory  # noqa: E402
from temporalio.contrib.pydantic import pydantic_data_converter  # noqa: E402
from temporalio.worker import Interceptor, Replayer  # noqa: E402

from aviary.queues import WORKFLOWS  # noqa: E402
from aviary.sandbox import sandbox  # noqa: E402
from aviary.telemetry.carrier import Place, derived  # noqa: E402
from aviary.telemetry.configure import make_provider  # noqa: E402
from aviary.telemetry.spans import Ended, export, use  # noqa: E402
from aviary.telemetry.workflow import TraceInterceptor  # noqa: E402

HISTORY = ROOT / "tests/replay/histories/healthy.release.json"
ROUNDS = 15
SPANS = 5_000


async def replay_ms(interceptors: list[Interceptor]) -> float:
    """Milliseconds of one replay, the median of several."""
    text = HISTORY.read_text()
    replayer = Replayer(
        workflows=WORKFLOWS,
        interceptors=interceptors,
        workflow_runner=sandbox(),
        data_converter=pydantic_data_converter,
    )
    took = []
    for _ in range(ROUNDS):
        began = time.process_time()
        await replayer.replay_workflow(WorkflowHistory.from_json("release", text))
        took.append((time.process_time() - began) * 1000)
    return median(took)


def export_us() -> float:
    """Microseconds to hand one span to the exporter."""
    place, parent = Place(*derived("span")), Place(*derived("parent")).carrier()
    ended = Ended("StartActivity:x", place, parent, 1, 2, attributes={"aviary.release": "r"})
    began = time.perf_counter()
    for _ in range(SPANS):
        export(ended)
    return (time.perf_counter() - began) * 1e6 / SPANS


def main() -> None:
    """Measure, and print one line of JSON."""
    found = {
        "replay_without_ms": asyncio.run(replay_ms([])),
        "replay_off_ms": asyncio.run(replay_ms([TraceInterceptor()])),
    }
    provider = make_provider(Resource.create({}))
    provider.add_span_processor(BatchSpanProcessor(InMemorySpanExporter()))
    use(provider)
    found["replay_on_ms"] = asyncio.run(replay_ms([TraceInterceptor()]))
    found["export_us"] = export_us()
    provider.shutdown()
    print(json.dumps({key: round(value, 2) for key, value in found.items()}))


if __name__ == "__main__":
    main()
