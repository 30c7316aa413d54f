"""What is counted of events that are durable."""

from prometheus_client import CollectorRegistry

from adapters.memory import MemoryEventLog
from aviary.telemetry.ports import MeasuredLog, WorkerMetrics
from schemas.event_kinds import EventType
from tests.unit.events.samples import samples, verdict


async def test_the_first_failure_of_a_service_is_seen_to_grow() -> None:
    registry = CollectorRegistry()
    log = MeasuredLog(MemoryEventLog(), WorkerMetrics(registry))
    baking, judged = (
        samples()[kind] for kind in (EventType.CANARY_BAKING, EventType.CANARY_JUDGED)
    )
    failed = {**judged.data, "verdict": verdict().model_dump(mode="json")}
    labels = {"kind": "FAIL", "reason": "worse_than_stable", "service": judged.data["service"]}
    found = []
    for event in (baking, judged.model_copy(update={"data": failed})):
        await log.publish([event])
        found.append(registry.get_sample_value("aviary_verdicts_total", labels))
    assert found == [0, 1]
