"""Configuration of the embedded Prometheus and Alertmanager, tuned for seconds instead of minutes.

Both read JSON, which is YAML. With these times a bad response is an alert at the webhook in about
two seconds; with the two servers' own defaults it takes minutes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
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
_POOLS: Final = 'envoy_cluster_name=~"[^@/]+@[^/]+"'
_SUM: Final = "sum by (envoy_cluster_name)"
_DONE: Final = f"{_SUM} (envoy_cluster_upstream_rq_completed{{{_POOLS}}}#)"
_GOOD: Final = f'{_SUM} (envoy_cluster_upstream_rq_xx{{{_POOLS},envoy_response_code_class="2"}}#)'
_FAILED: Final = f"({_DONE} - ({_GOOD} or 0 * {_DONE}))"

# Without the metrics that nobody asks for a scrape is a twentieth of the size.
_ENVOY_METRICS: Final = "^cluster\\..*(upstream_rq|upstream_cx|membership|outlier_detection)"


def prometheus(targets: Mapping[str, str], alertmanager: str, rules: Path) -> str:
    """Prometheus' configuration.

    Args:
        targets: host:port by job name; the job `envoy` is scraped at Envoy's own path.
        alertmanager: host:port.
        rules: the file with `alert_rules`.
    """
    jobs = [_job(name, target) for name, target in targets.items()]
    document = {
        "global": {"scrape_interval": "1s", "scrape_timeout": "900ms", "evaluation_interval": "1s"},
        "rule_files": [str(rules)],
        "alerting": {"alertmanagers": [{"static_configs": [{"targets": [alertmanager]}]}]},
        "scrape_configs": jobs,
    }
    return json.dumps(document, indent=1)


def _job(name: str, target: str) -> dict[str, Any]:
    job: dict[str, Any] = {"job_name": name, "static_configs": [{"targets": [target]}]}
    if name == "envoy":
        job |= {"metrics_path": "/stats/prometheus", "params": {"filter": [_ENVOY_METRICS]}}
    return job


def alert_rules() -> str:
    """One rule for every version of every service, from Envoy's own counters.

    Failures are what did not succeed, and both counters are compared with themselves two seconds
    ago. A `rate()` of responses by class would be wrong just when it matters: such a series does
    not exist before its first response, so its first seconds are missing, and every new version
    would seem to fail.
    """
    failed, done = _growth(_FAILED), _growth(_DONE)
    pool = "$labels.envoy_cluster_name"
    rule = {
        "alert": ALERT,
        "expr": f"{failed} / {done} > {ALERT_ABOVE} and {done} > {_ENOUGH}",
        "labels": {
            "severity": "critical",
            "service": f'{{{{ reReplaceAll "@.*" "" {pool} }}}}',
            # The pool's name has ~ for the dots of the version.
            "version": f'{{{{ reReplaceAll "~" "." (reReplaceAll ".*@" "" {pool}) }}}}',
        },
        "annotations": {
            "summary": f"{{{{ $value | humanizePercentage }}}} of requests to {{{{ {pool} }}}} fail"
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
