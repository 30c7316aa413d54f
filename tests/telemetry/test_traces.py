"""One trace from the record of a deploy event to the end, and one from an alert to its end."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
from temporalio.client import Client

from aviary.telemetry.carrier import Place, from_record
from schemas import ids
from tests.contract.kafka.parts import Broker, deploy, payload, until
from tests.telemetry.otlp import Receiver, Span
from tests.telemetry.processes import aviary

TRACE, PIPELINE = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PIPELINE}-01"
ALERT_TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def exported_to(receiver: Receiver) -> dict[str, str]:
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_BSP_SCHEDULE_DELAY": "100",
        "OTEL_METRIC_EXPORT_INTERVAL": "200",
    }


async def received(receiver: Receiver, name: str, **attributes: object) -> None:
    async def there() -> bool:
        return bool(receiver.named(name, **attributes))

    await until(there, f"a span {name} {attributes}; there are {receiver.names()}")


def path(receiver: Receiver, span: Span) -> list[str]:
    """Names from the root, or from what the pipeline's own span is the parent of, to a span."""
    by_id = {one.id: one for one in receiver.spans}
    names = [span.name]
    while span.parent not in {"", PIPELINE, "00f067aa0ba902b7"}:
        assert span.parent in by_id, f"the parent of {span.name} is missing"
        assert by_id[span.parent].trace == span.trace
        span = by_id[span.parent]
        names.insert(0, span.name)
    return names


async def test_a_release_is_one_trace_from_its_record_to_its_end(
    tmp_path: Path, broker: Broker, client: Client, receiver: Receiver
) -> None:
    target = client.service_client.config.target_host
    record = deploy("shop-1", traceparent=TRACEPARENT)  # CloudEvents' own extension
    async with aviary(tmp_path, broker, target, exported_to(receiver), "worker", "bridge"):
        await broker.write(record)
        await received(receiver, "CompleteWorkflow:aviary.release")
        await received(receiver, "CompleteWorkflow:aviary.canary")
        await received(receiver, "RunActivity:aviary.events.publish")
        [event, *_] = await broker.read(ids.TOPIC_EVENTS, 1)

    ours = [span for span in receiver.spans if span.trace == TRACE]
    assert {span.process for span in ours} == {"aviary-bridge", "aviary-worker"}
    release = [f"{what}:aviary.release" for what in ("StartWorkflow", "RunWorkflow")]
    release.insert(0, "process aviary.deploys")
    canary = [*release, "StartChildWorkflow:aviary.canary", "RunWorkflow:aviary.canary"]
    writes = receiver.named("router write memory")
    assert {span.attributes["aviary.weight"] for span in writes} == {50.0, 100.0, 0.0}
    for write in writes:
        assert path(receiver, write) == [
            *canary,
            "StartActivity:aviary.traffic.apply",
            "RunActivity:aviary.traffic.apply",
            "router write memory",
        ]
        assert write.attributes["aviary.release"] == "shop-1"
    for span in ours:
        assert path(receiver, span)[0] == "process aviary.deploys"
    ended = receiver.one(lambda span: span.name == "CompleteWorkflow:aviary.release")
    assert ended.attributes["aviary.state"] == "finalized"
    baked = receiver.one(lambda span: span.name == "canary baking")
    assert baked.seconds >= 0.1
    assert ended.seconds >= baked.seconds
    assert path(receiver, baked)[:-1] == canary
    place = Place.of(from_record(event))
    assert place is not None
    assert place.trace_id == TRACE, "who follows the events can go on with the trace"


async def test_an_alert_is_one_trace_until_traffic_is_restored(
    tmp_path: Path, broker: Broker, client: Client, receiver: Receiver
) -> None:
    target = client.service_client.config.target_host
    data = {
        "release": "shop-2",
        "services": [{"service": "checkout", "version": "2"}],
        "strategy": "long",
    }
    headers = {"traceparent": f"00-{ALERT_TRACE}-00f067aa0ba902b7-01"}
    more = exported_to(receiver)
    async with (
        aviary(tmp_path, broker, target, more, "worker", "bridge", "webhook") as there,
        httpx.AsyncClient() as http,
    ):
        await broker.write(deploy("shop-2", data=data))
        await received(receiver, "router write memory", aviary__weight=50.0)
        body = json.loads(json.dumps(payload()).replace("2026-01-01", "2036-01-01"))
        answer = await http.post(f"{there['webhook'].url}/alertmanager", json=body, headers=headers)
        assert answer.status_code == 200
        await received(receiver, "CompleteWorkflow:aviary.release")
        metrics = (await http.get(f"{there['worker'].url}/metrics")).text
        log = [json.loads(line) for line in there["worker"].log.read_text().splitlines()]

    back = receiver.one(lambda span: "traffic restored" in span.events)
    assert back.trace == ALERT_TRACE
    assert path(receiver, back) == [
        "POST /alertmanager",
        "send aviary.alerts",
        "process aviary.alerts",
        "SignalWorkflow:alert",
        "HandleSignal:alert",
        "StartActivity:aviary.traffic.apply",
        "RunActivity:aviary.traffic.apply",
        "router write memory",
    ]
    handled = receiver.one(lambda span: span.name == "HandleSignal:alert")
    release = receiver.one(lambda span: span.name == "RunWorkflow:aviary.release")
    assert [trace for trace, _ in handled.links] == [release.trace]
    turned = receiver.named("going back", aviary__service="checkout")
    assert [(span.trace, span.links) for span in turned] == [
        (release.trace, ((ALERT_TRACE, handled.id),))
    ]
    assert "aviary_alert_to_restored_seconds_count 1.0" in metrics
    assert 'aviary_releases_total{state="rolled_back"} 1.0' in metrics
    assert 'aviary_rollbacks_total{cause="alert"} 1.0' in metrics
    applied = [line for line in log if line.get("event") == "route applied"]
    assert {(line["release"], line["service"]) for line in applied} == {("shop-2", "checkout")}
    assert applied[-1]["trace_id"] == ALERT_TRACE
    assert receiver.metrics["aviary_alert_to_restored_seconds"].histogram.data_points[0].count == 1
