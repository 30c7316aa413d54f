"""Spans of workflows: each once, however often a history is replayed, and with the same id."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterator

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from temporalio.client import Client, WorkflowHistory
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import WorkflowEnvironment
from temporalio.worker import Replayer

from aviary.queues import WORKFLOWS
from aviary.sandbox import sandbox
from aviary.telemetry import workflow
from aviary.telemetry.carrier import Place
from aviary.telemetry.configure import make_provider
from aviary.telemetry.spans import Ended, export, use
from tests.workflows.kit import World


@pytest.fixture
def exported() -> Iterator[InMemorySpanExporter]:
    exporter = InMemorySpanExporter()
    provider = make_provider(Resource.create({}))
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    use(provider)
    yield exporter
    use(None)
    provider.shutdown()


async def histories(client: Client) -> list[WorkflowHistory]:
    """A release with an alert, on workers that keep no run: each of their tasks is a replay."""
    config = client.config()
    config["interceptors"] = [workflow.TraceInterceptor()]
    world = World(Client(**config))
    world.settings = {"cached_runs": 0}
    world.judge.blocked.add((world.service("checkout"), 10))
    async with world.working():
        release = await world.release({"ledger": [], "checkout": ["ledger"]})
        await release.until(checkout="baking")
        await release.alert("checkout")
        await release.result()
    handles = [release.handle, release.canary("ledger"), release.canary("checkout")]
    return [await handle.fetch_history() for handle in handles]


def test_a_span_of_a_repeated_task_is_exported_once(exported: InMemorySpanExporter) -> None:
    """As when the server refuses the end of a workflow that a signal came to meanwhile."""
    place = Place("1" * 32, "2" * 16, "01")
    first = Ended("CompleteWorkflow:aviary.canary", place, {}, 1, 2)
    later = dataclasses.replace(first, end_ns=3)
    other = dataclasses.replace(first, place=Place("1" * 32, "3" * 16, "01"))
    for one in (first, later, other, first):
        export(one)
    assert [one.end_time for one in exported.get_finished_spans()] == [2, 2]


async def test_each_span_is_exported_once(
    server: WorkflowEnvironment, exported: InMemorySpanExporter, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = await histories(server.client)
    spans = exported.get_finished_spans()
    ids = Counter(span.context.span_id for span in spans if span.context)
    assert [count for count in ids.values() if count > 1] == []
    names = Counter(span.name for span in spans)
    assert names["CompleteWorkflow:aviary.release"] == 1
    assert names["RunWorkflow:aviary.canary"] == names["CompleteWorkflow:aviary.canary"] == 2
    assert names["HandleSignal:alert"] == 1
    assert names["canary rolling_back"] == 2

    exported.clear()
    would: list[Ended] = []
    replayer = Replayer(
        workflows=WORKFLOWS,
        interceptors=[workflow.TraceInterceptor()],
        workflow_runner=sandbox(),
        data_converter=pydantic_data_converter,
    )
    for history in kept:
        assert (await replayer.replay_workflow(history)).replay_failure is None
    assert exported.get_finished_spans() == (), "a replay exports nothing"

    monkeypatch.setattr(workflow._Run, "_emit", lambda _, ended: would.append(ended))
    for history in kept:
        await replayer.replay_workflow(history)
    assert len(would) > 40
    assert {int(one.place.span_id, 16) for one in would} <= set(ids), "a replay knows the same ids"
