"""What could never be judged is refused before anything runs, and by every way in alike."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from aviary.catalog_watch import CatalogWatch
from aviary.catalogs import read_catalog
from schemas.catalog_file import CatalogError
from schemas.judging import render
from schemas.promql import fault
from tests.unit.cli.conftest import Run

HEAD = """\
version: 1
defaults: {router: {kind: envoy, directory: /srv, admin: ["http://127.0.0.1:9901"]}}
strategies: {careful: {ramp: {budget: 100}}, quick: {steps: [50]}}
services:
"""
ERRORS = 'x{p="{{pool}}",code="5"}'


def own(value: str, kind: str = "ratio") -> str:
    parts = {
        "ratio": f"bad: '{value}', total: x",
        "histogram": f"buckets: '{value}'",
        "gauge": f"value: '{value}'",
        "threshold": f"value: '{value}', limit: 1",
    }
    return f"  a: {{metrics: [{{kind: {kind}, name: m, {parts[kind]}}}]}}\n"


WRONG = [
    (
        "  a: {judge: {pack: ngnix}}\n",
        "5: services.a.judge.pack: got 'ngnix', expected caddy, envoy, haproxy, ",
    ),
    (
        "  a: {judge: {pack: ngnix}}\n",
        "nginx-ingress, otel-http, otel-http-flag, traefik, traefik-gateway; did you mean 'nginx'?",
    ),
    ("  a: {judge: {pack: Envoy}}\n", "; did you mean 'envoy'?"),
    (
        "  a: {metrics: [{kind: ratio, name: bad_logins, slo: 0.01}]}\n",
        "5: services.a.metrics[0].query: got 'bad_logins', expected client_errors, ",
    ),
    ("  a: {metrics: [{kind: ratio, name: eror, slo: 0.01}]}\n", "or own PromQL in bad and total"),
    ("  a: {metrics: [{kind: ratio, name: x, query: latency}]}\n", "is a histogram"),
    ("  a: {judge: {pack: haproxy}}\n", "services.a.judge: got 'latency', expected a histogram"),
    (
        "  a: {strategy: careful, metrics: []}\n",
        "5: services.a.strategy: got 'careful', expected a metric of kind ratio",
    ),
    (
        "  a: {strategy: careful, metrics: [{kind: ratio, name: errors, slo: 0.1}]}\n",
        "services.a.strategy: got 'careful', expected a metric of kind ratio",
    ),
    (
        "  a: {strategy: careful, metrics: [{kind: ratio, name: errors, dry_run: true}]}\n",
        "services.a.strategy: got 'careful'",
    ),
    (own("sum(x"), "services.a.metrics[0].bad: got 'sum(x', expected a query in PromQL (unclosed"),
    (own('x{a="b"'), "expected a query in PromQL"),
    (own('x{a=~"("}'), "expected a query in PromQL (illegal regex"),
    (own("nosuch(x)"), "unknown function"),
    (own("rollup(x)"), "or another language, say judge: {language: other}"),
    (own("rate(x[5m] anchored)"), "for what is newer than Prometheus 2.45"),
    (own("increase(x[5m] smoothed)"), "for what is newer than Prometheus 2.45"),
    (own("sum(rate(x[5m]))"), "expected raw series, got sum()"),
    (own("x - x offset 5m"), "expected raw series, got a difference of two times"),
    (own("x - last_over_time(x[1m] offset 5m)"), "raw series, got a difference of two times"),
    (own("sum by (pod) (x)", "histogram"), "expected raw series, got sum()"),
    (
        own("histogram_quantile(0.9, x)", "histogram"),
        "expected raw series, got histogram_quantile()",
    ),
    (own("increase(x[1m])"), "got increase()"),
    (own("x / y"), "got operator /"),
    (own("x * on (pod) y"), "got operator *"),
    (own("rate(x[1m]) * on (pod) group_left (version) y"), "got rate()"),
    (own("x * on (pod) group_right (version) rate(y[1m])"), "got rate()"),
    (own("x or rate(y[5m])"), "got rate()"),
    (own("x @ 5"), "got @"),
    (own("x[5m]"), "expected a query for series (a range of values"),
    (own("1"), "expected a query for series (a single number"),
    (own("x[5m]", "gauge"), "(a range of values"),
    (own("scalar(x)", "threshold"), "(a single number"),
    (own('"text"', "threshold"), "(a text"),
    (own('x{p="{{poool}}"}'), "unknown variable {{poool}}"),
    (own('x{p="{{pool}"}'), "expected }} after each {{"),
    (own("(" * 60 + "x" + ")" * 60), "at most 50 levels of brackets"),
    (own("-" * 5000 + "x", "gauge"), "at most 200 operators"),
    (own("x" * 20_000), "at most 10000 characters"),
    (
        "  a: {judge: {kayenta: {critical: [eror]}}, metrics: [{kind: ratio, name: errors}]}\n",
        "judge.kayenta.critical: got 'eror', expected a metric of the service (errors); did you",
    ),
    (
        "  a: {metrics: [{kind: ratio, name: errors}, {kind: ratio, name: errors}]}\n",
        "services.a.metrics[0].name: got 'errors', expected each name of a metric once",
    ),
    (
        "  a: {metrics: ["
        + ", ".join(
            f"{{kind: gauge, name: m{at}, value: 'x{{a=\"{'b' * 9000}\"}}'}}" for at in range(30)
        )
        + "]}\n",
        "services.a.metrics: got '30 metrics', expected queries of at most 200,000 characters",
    ),
    ("  a: {strategy: quikc}\n", "(careful, quick, standard); did you mean 'quick'?"),
]
RIGHT = [
    "  a:\n",
    "  a: {judge: {pack: istio}}\n",
    "  a: {strategy: careful}\n",
    "  a: {strategy: quick, metrics: []}\n",
    own(ERRORS),
    own("x + y"),
    own("total - good"),
    own("x or y"),
    own("x * on (pod) group_left (version) pod_labels"),
    own("pod_labels * on (pod) group_right (version) (x + y)"),
    own('label_replace(x, "pod", "$1", "instance", "(.*)")'),
    own("x and on (pod) up == 1"),
    own("x offset 1m"),
    own("rate(cpu[5m])", "gauge"),
    own("sum(rate(x[5m]))", "threshold"),
    own("holt_winters(x[5m], 0.5, 0.5)", "gauge"),
    own("double_exponential_smoothing(x[5m], 0.5, 0.5)", "gauge"),
    own("x # a comment\n  "),
    "  a: {judge: {language: other}, metrics: [{kind: gauge, name: m, value: 'rollup(x) keep'}]}\n",
]


@pytest.mark.parametrize(("services", "says"), WRONG)
def test_every_way_in_refuses_it(run: Run, tmp_path: Path, services: str, says: str) -> None:
    path, event = tmp_path / "c.yaml", tmp_path / "e.json"
    path.write_text(HEAD + services)
    event.write_text(json.dumps({"release": "r", "services": [{"service": "a", "version": "2"}]}))
    with pytest.raises(CatalogError) as caught:
        CatalogWatch(path, CollectorRegistry())  # the bridge's and the workers'
    text = str(caught.value)
    assert says in text
    for command in (
        ["validate", path],
        ["plan", "-c", path, "-e", event],
        ["release", "start", "-c", path, "-e", event],
    ):
        result = run(*command)
        assert (result.exit_code, result.stdout) == (2, "")
        assert result.stderr.strip() == text


@pytest.mark.parametrize("services", RIGHT)
def test_what_can_be_judged_is_taken(tmp_path: Path, services: str) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(HEAD + services)
    assert set(read_catalog(path).services) == {"a"}


def test_what_defaults_lack_is_told_once_and_there(tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(
        "version: 1\ndefaults:\n  router: {kind: memory}\n  metrics:\n"
        "    - {kind: ratio, name: errors, bad: 'sum(x)', total: y}\n"
        "  judge: {pack: nope}\nservices: {a: , b: , c: {metrics: []}}\n"
    )
    with pytest.raises(CatalogError) as caught:
        read_catalog(path)
    assert [problem.path for problem in caught.value.problems] == [
        "defaults.metrics[0].bad",
        "defaults.judge.pack",
    ]


@pytest.mark.parametrize(
    ("defaults", "services"),
    [
        ("judge: {kayenta: {critical: [m]}}", own("x")),
        ("judge: {pack: haproxy}", own("x")),
        ("metrics: [{kind: gauge, name: latency}]", "  a: {judge: {pack: haproxy}}\n"),
        (
            "judge: {language: promql}, metrics: [{kind: gauge, name: m, value: 'rollup(x)'}]",
            "  a: {judge: {language: other}}\n",
        ),
    ],
)
def test_defaults_are_held_to_nothing_but_what_services_make_of_them(
    tmp_path: Path, defaults: str, services: str
) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(HEAD.replace('9901"]}}', f'9901"]}}, {defaults}}}') + services)
    assert set(read_catalog(path).services) == {"a"}


def test_an_unknown_strategy_of_a_release_has_a_hint(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "c.yaml"
    path.write_text(HEAD + "  a:\n")
    result = run("release", "start", "r", "-s", "a=1", "--strategy", "carefull", "-c", path)
    assert "did you mean 'careful'?" in result.stderr


def test_another_environment_s_event_is_refused_by_plan_and_start(run: Run, tmp_path: Path) -> None:
    path, event = tmp_path / "c.yaml", tmp_path / "e.json"
    path.write_text(HEAD.replace("version: 1", "version: 1\nenvironment: staging") + "  shop:\n")
    event.write_text(
        json.dumps(
            {
                "specversion": "1.0",
                "type": "dev.cdevents.service.deployed.0.2.0",
                "source": "/ci",
                "id": "1",
                "data": {
                    "context": {
                        "version": "0.4.1",
                        "id": "1",
                        "source": "/ci",
                        "type": "dev.cdevents.service.deployed.0.2.0",
                        "timestamp": "2026-01-01T00:00:00Z",
                    },
                    "subject": {
                        "id": "shop",
                        "type": "service",
                        "content": {
                            "environment": {"id": "production"},
                            "artifactId": "pkg:oci/shop@1.2.3",
                        },
                    },
                },
            }
        )
    )
    for command in (["plan"], ["release", "start"]):
        result = run(*command, "-c", path, "-e", event)
        assert (result.exit_code, result.stdout) == (2, "")
        assert "got 'production', expected the catalog's environment 'staging'" in result.stderr


@given(
    st.text("x(){}[]=~!\"'`,.:@#-+*/^<> \n\\1m5abyorndsumte", max_size=60) | st.text(max_size=40),
    st.booleans(),
)
def test_no_query_is_a_fault_of_ours(query: str, raw: bool) -> None:
    found = fault(query, raw=raw)
    assert found is None or found


@pytest.mark.parametrize(
    "query",
    [
        part * 3000
        for part in ("(", "-", "x+", "sum(", "{", '"', "x or ", "!", "[", "\\", "x^", "#")
    ],
)
def test_a_query_that_nests_is_refused_before_the_parser(query: str) -> None:
    assert fault(query, raw=False)


@pytest.mark.parametrize("text", ["{{" * 5000, "{{ " + " " * 9000, "{{" + "a" * 9000, "}}" * 5000])
def test_a_template_of_many_braces_is_read_at_once(text: str) -> None:
    assert render(text, {}) == text
