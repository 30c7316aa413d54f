"""Exporters: what the variables mean, what stays secret, and that a dead endpoint harms nothing."""

from __future__ import annotations

import json
import logging
from pathlib import Path

import pytest
from opentelemetry.sdk.resources import Resource
from opentelemetry.util.re import parse_env_headers
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from temporalio.client import Client

from aviary.local.ports import FreePorts
from aviary.settings import SettingsError
from aviary.telemetry.configure import configure_telemetry
from aviary.telemetry.otlp_metrics import convert
from aviary.telemetry.registry import Several
from aviary.telemetry.spans import span, use
from aviary.telemetry.variables import headers
from schemas.ids import release_workflow_id
from tests.contract.kafka.parts import Broker, deploy, until
from tests.telemetry.otlp import Receiver
from tests.telemetry.processes import aviary

SECRET = "s3cret-of-the-vendor"


@pytest.mark.parametrize(
    ("variables", "words"),
    [
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "expected 'http/protobuf'"),
        ({"OTEL_TRACES_EXPORTER": "jaeger"}, "OTEL_TRACES_EXPORTER: got 'jaeger', expected"),
        ({"OTEL_METRICS_EXPORTER": "console"}, "expected none or otlp or prometheus"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "collector:4318"}, "expected http:// or https://"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": SECRET}, "(hidden): expected key=value"),
        ({"OTEL_EXPORTER_OTLP_TRACES_HEADERS": SECRET}, "OTEL_EXPORTER_OTLP_TRACES_HEADERS"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": f"a b={SECRET}"}, "(hidden): expected key=value"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": f"a={SECRET};b"}, "(hidden): expected key=value"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": f'a="{SECRET}"'}, "(hidden): expected key=value"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": f"a={SECRET}ü"}, "(hidden): expected key=value"),
        ({"OTEL_EXPORTER_OTLP_HEADERS": f"a=b%0d%0ac: {SECRET}"}, "(hidden): expected key=value"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://[::1:{SECRET}"}, "(hidden): expected http://"),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://u:{SECRET}@h:99999"}, "(hidden): expected http"),
        ({"OTEL_EXPORTER_OTLP_TIMEOUT": "soon"}, "got 'soon', expected seconds"),
        ({"OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "0"}, "got '0', expected seconds"),
        ({"OTEL_EXPORTER_OTLP_COMPRESSION": "zip"}, "expected none or gzip or deflate"),
        ({"OTEL_EXPORTER_OTLP_CERTIFICATE": "/not/there"}, "'/not/there', expected a file"),
        ({"OTEL_TRACES_SAMPLER": "sometimes"}, "got 'sometimes', expected one of always_off"),
        (
            {"OTEL_TRACES_SAMPLER": "traceidratio", "OTEL_TRACES_SAMPLER_ARG": "7"},
            "OTEL_TRACES_SAMPLER_ARG: got '7', expected a share",
        ),
        ({"OTEL_BSP_SCHEDULE_DELAY": "x"}, "OTEL_BSP_SCHEDULE_DELAY: got 'x', expected a whole"),
        ({"OTEL_BSP_MAX_QUEUE_SIZE": "100"}, "BATCH_SIZE: got 512, expected at most 100"),
    ],
)
def test_a_wrong_variable_is_named_and_a_secret_is_not(
    variables: dict[str, str], words: str
) -> None:
    endpoint = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9"}
    with pytest.raises(SettingsError) as told:
        configure_telemetry("worker", endpoint | variables)
    assert words in str(told.value)
    assert SECRET not in str(told.value)


@pytest.mark.parametrize(
    "variables",
    [
        {},
        {"OTEL_SERVICE_NAME": "x"},
        {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"},
        {
            "OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9",
            "OTEL_TRACES_EXPORTER": "none",
            "OTEL_METRICS_EXPORTER": "prometheus",
        },
    ],
)
def test_nothing_is_exported_where_nothing_says_so(variables: dict[str, str]) -> None:
    assert configure_telemetry("worker", variables).closers == []


def test_headers_are_sent_and_not_logged(
    receiver: Receiver, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level(logging.DEBUG)
    variables = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_EXPORTER_OTLP_HEADERS": f"authorization=Bearer%20{SECRET}",
    }
    for name, value in variables.items():  # what the exporter itself may read and log
        monkeypatch.setenv(name, value)
    telemetry = configure_telemetry("bridge", variables)
    with span("work", aviary__release="r1"):
        pass
    telemetry.close()
    use(None)
    [made] = receiver.named("work")
    assert (made.process, made.attributes["aviary.release"]) == ("aviary-bridge", "r1")
    assert {one["authorization"] for one in receiver.headers} == {f"Bearer {SECRET}"}
    assert SECRET not in caplog.text


def test_what_is_allowed_in_a_header_is_sent_as_it_is() -> None:
    text = "authorization=Bearer abc+/==, x-key = a%2Cb%3Bc ,"
    assert headers("X", text) == {"authorization": "Bearer abc+/==", "x-key": "a,b;c"}


@pytest.mark.parametrize("text", ["authorization=Bearer a=b", "x-k=~!|:'()*[]^_`{}", "a=,b=c"])
def test_the_exporters_own_parser_complains_of_no_header_that_is_taken(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert parse_env_headers(text, liberal=True) == headers("X", text)
    assert caplog.records == []


def test_a_push_says_what_a_scrape_says() -> None:
    registry, other = CollectorRegistry(), CollectorRegistry()
    counter = Counter("aviary_things", "Things.", ["kind"], registry=registry)
    counter.labels("a").inc(3)
    Gauge("aviary_now", "Now.", registry=registry).set(7)
    Gauge("aviary_now", "Now.", registry=other).set(8)
    histogram = Histogram("aviary_seconds", "Time.", buckets=(0.1, 1), registry=other)
    for value in (0.05, 0.5, 5, 5):
        histogram.observe(value)
    data = convert(Several((registry, other)).collect(), Resource.create({}), 10**18)
    assert data is not None
    [scope] = data.resource_metrics[0].scope_metrics
    found = {metric.name: json.loads(metric.to_json())["data"] for metric in scope.metrics}
    [things] = found["aviary_things"]["data_points"]
    assert (things["value"], things["attributes"]) == (3, {"kind": "a"})
    assert found["aviary_things"]["is_monotonic"] is True
    assert [point["value"] for point in found["aviary_now"]["data_points"]] == [7]
    [seconds] = found["aviary_seconds"]["data_points"]
    assert seconds["bucket_counts"] == [1, 1, 2]
    assert (seconds["count"], seconds["sum"]) == (4, 10.55)
    assert seconds["explicit_bounds"] == [0.1, 1]


async def test_a_dead_endpoint_stops_nothing(
    tmp_path: Path, broker: Broker, client: Client
) -> None:
    dead = f"http://127.0.0.1:{FreePorts().take()}"
    more = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": dead,
        "OTEL_BSP_SCHEDULE_DELAY": "50",
        "OTEL_METRIC_EXPORT_INTERVAL": "100",
    }
    target = client.service_client.config.target_host
    async with aviary(tmp_path, broker, target, more, "worker", "bridge") as there:
        await broker.write(deploy("shop-1", service="ledger"))

        async def known() -> bool:
            found = [one async for one in client.list_workflows("WorkflowType='aviary.release'")]
            return bool(found)

        await until(known, "the release began")
        done = await client.get_workflow_handle(release_workflow_id("shop-1")).result()
        assert done["phase"] == "finalized"
        for one in there.values():
            assert await one.stop() == 0
            lines = [json.loads(line) for line in one.log.read_text().splitlines()]
            told = [line for line in lines if line["logger"].startswith("opentelemetry")]
            assert [line for line in told if "exception" in line] == []
