"""Whose doing an alert is, by the counters of a real Prometheus."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final

from activities.blame import AskBlame, BlameActivities
from activities.failures import ReadFailures
from adapters.metrics.batching import BatchedMetrics
from adapters.metrics.prometheus.source import PrometheusMetrics
from schemas.blame import Exposed, WeightChange
from tests.catalogs import make
from tests.contract.metrics.conftest import prometheus_of
from tests.contract.metrics.subjects import AT
from tests.workflows.kit.router import RecordingRouter

OTHERS: Final = tuple(f"other-{number}" for number in range(8))
CALLED: Final = ("ledger", *OTHERS)
EVERY: Final = timedelta(seconds=15)
SAMPLES: Final = 160
BEGAN: Final = AT - timedelta(minutes=4)
WEIGHTS: Final = {"1": 0.9, "2": 0.1}
_REQUESTS: Final = 40 * EVERY.total_seconds()
_QUERY: Final = 'requests_total{service="{{service}}",version="{{version}}"'
ERRORS: Final = {
    "kind": "ratio",
    "name": "errors",
    "bad": f'{_QUERY},code="500"}}',
    "total": f"{_QUERY}}}",
}


def failing(service: str, version: str) -> float:
    """Share of the requests since `BEGAN`: web fails with whatever its ledger fails."""
    if service == "ledger":
        return 0.5 if version == "2" else 0.002
    return 0.05 if service == "web" else 0.002


def past() -> str:
    """Raw counters of all versions, which all have had requests for long."""
    lines = ["# TYPE requests counter"]
    for service in ("web", *CALLED):
        for version, share in WEIGHTS.items():
            sums = {"200": 0.0, "500": 0.0}
            for sample in range(SAMPLES + 1):
                at = AT - (SAMPLES - sample) * EVERY
                rate = failing(service, version) if at > BEGAN else 0.002
                sums["500"] += _REQUESTS * share * rate
                sums["200"] += _REQUESTS * share * (1.0 - rate)
                for code, value in sums.items():
                    labels = f'service="{service}",version="{version}",code="{code}",pod="a"'
                    lines.append(f"requests_total{{{labels}}} {value:.0f} {at.timestamp():.0f}")
    by_series = sorted(lines[1:], key=lambda line: line.partition("}")[0])
    return "\n".join((lines[0], *by_series, "# EOF", ""))


class Ten:
    """`Canaries`: web, and nine that it calls, each of a release of its own."""

    async def lately(self, since: datetime) -> Iterable[str]:
        assert since < BEGAN
        return ("web", *CALLED)

    async def exposed(self, service: str) -> Exposed | None:
        began = BEGAN if service == "ledger" else AT - timedelta(minutes=15 + len(service))
        changes = (WeightChange(at=began, weight=10.0),)
        return Exposed(
            release=f"r-{service}", service=service, version="2", before="1", changes=changes
        )


async def test_the_culprit_is_found_among_ten_by_what_prometheus_counted(tmp_path: Path) -> None:
    document: dict[str, Any] = {
        "version": 1,
        "defaults": {"router": {"kind": "memory"}, "metrics": [ERRORS]},
        "services": {"web": {"depends_on": [*CALLED]}, **{name: {} for name in CALLED}},
    }
    catalog, router = make(document), RecordingRouter()
    async with prometheus_of(tmp_path, past()) as address:
        prometheus = PrometheusMetrics(address)
        batched = BatchedMetrics(prometheus)
        failures = ReadFailures(batched, lambda _: router.routing, lambda _, metric: metric)
        asks = BlameActivities(Ten(), lambda: catalog, failures, clock=lambda: AT)
        request = AskBlame(release="r-web", symptom="web", within=timedelta(minutes=2), since=BEGAN)
        found = await asks.blame(request)
        await batched.close()
        prometheus.close()
    assert (found.known, found.alone, found.culprit) == (True, False, "r-ledger")
    assert "it fails more of its own requests (50 % against 0.2 % of stable's)" in found.text
    assert len(found.ranked) == 5
