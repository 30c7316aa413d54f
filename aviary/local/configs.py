"""Configuration of the embedded Prometheus and Alertmanager, tuned for seconds instead of minutes.

Both read JSON, which is YAML. With these times a bad response is an alert at the webhook in about
two seconds; with the two servers' own defaults it takes minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

ALERT: Final = "VersionFails"
"""The rule: most requests to one version of a service fail."""
ALERT_ABOVE: Final = 0.5
"""Share of requests that do not succeed. High: smaller harm is the judge's to find while a canary
bakes, and this alert's to find when it has all requests and there is no stable to compare with."""
_ENOUGH: Final = 20
"""Requests in the window, so that chance alone does not make more than half of them fail."""
_WINDOW: Final = "2s"


@dataclass(frozen=True)
class Rule:
    """How a router counts, for the alert; `#` stands for the moment in its counters."""

    done: str
    """Answers of each version."""
    good: str
    """Those of class 2; no series before the first."""
    service: str
    """Template of the alert's label."""
    version: str
    """The same."""


def prometheus(
    targets: Mapping[str, Sequence[str]], router: Mapping[str, Any], alertmanager: str, rules: Path
) -> str:
    """Prometheus' configuration.

    Args:
        targets: each job's host:port, by its name.
        router: the job of the router.
        alertmanager: host:port.
        rules: the file with `alert_rules`.
    """
    jobs = [dict(router), *(_job(name, found) for name, found in targets.items())]
    document = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "900ms", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": jobs,
    }
    return json.dumps(document, indent=1)


def _job(name: str, targets: Sequence[str]) -> dict[str, Any]:
    return {"job_name": name, "static_configs": [{"targets": list(targets)}]}


def alert_rules(counted: Rule) -> str:
    """One rule for every version of every service, from the router's own counters.

    Failures are what did not succeed, and both counters are compared with themselves two seconds
    ago. A `rate()` of responses by class would be wrong just when it matters: such a series does
    not exist before its first response, so its first seconds are missing, and every new version
    would seem to fail.
    """
    good, all_ = counted.good, counted.done
    failed, done = _growth(f"({all_} - ({good} or 0 * {all_}))"), _growth(all_)
    rule = {
        "alert": ALERT,
        "expr": f"{failed} / {done} > {ALERT_ABOVE} and {done} > {_ENOUGH}",
        "labels": {
            "severity": "critical",
            "service": counted.service,
            "version": counted.version,
        },
        "annotations": {
            "summary": "{{ $value | humanizePercentage }} of requests to "
            f"{counted.service} {counted.version} fail"
        },
    }
    group = {"name": "shop", "interval": "1s", "rules": [rule]}
    return json.dumps({"groups": [group]}, indent=1)


def _growth(counter: str) -> str:
    """How much a counter grew in the window; `#` stands for the moment in the counter."""
    now, then = counter.replace("#", ""), counter.replace("#", f" offset {_WINDOW}")
    return f"({now} - {then})"


def alertmanager(webhook: str, token_file: Path) -> str:
    """Alertmanager's configuration: one group per service and version, told at once."""
    receiver = {
        "name": "aviary",
        "webhook_configs": [
            {
                "url": webhook,
                "send_resolved": True,
                "http_config": {
                    "authorization": {"type": "Bearer", "credentials_file": str(token_file)}
                },
            }
        ],
    }
    route = {
        "receiver": "aviary",
        "group_by": ["service", "version"],
        "group_wait": "0s",
        "group_interval": "1s",
        "repeat_interval": "1m",
    }
    return json.dumps({"route": route, "receivers": [receiver]}, indent=1)
