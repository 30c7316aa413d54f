"""Metric packs: every one is complete, raw and usable."""

from __future__ import annotations

import re

import pytest

from adapters.packs import BUILT_IN as PACKS
from adapters.packs import GaugeQuery, PoolName, RatioQuery
from adapters.routers.envoy.names import pool_name
from adapters.routers.haproxy import names as haproxy_names
from schemas.judging import (
    GaugeMetric,
    HistogramMetric,
    JudgeSpec,
    RatioMetric,
    ThresholdMetric,
    render,
)

VARIABLES = {"service": "checkout", "version": "1.4.2", "pool": "checkout@1~4~2"}


def test_all_packs_are_there() -> None:
    assert set(PACKS.names) == {
        "caddy",
        "envoy",
        "haproxy",
        "istio",
        "linkerd",
        "nginx",
        "nginx-ingress",
        "otel-http",
        "otel-http-flag",
        "traefik",
        "traefik-gateway",
    }


@pytest.mark.parametrize("name", PACKS.names)
def test_a_pack_counts_errors_and_latency_of_one_version(name: str) -> None:
    pack = PACKS.load(name)
    assert pack.queries["errors"].kind == "ratio"
    assert pack.queries["latency"].kind in {"histogram", "gauge"}
    for query in pack.queries.values():
        for template in query.parts.values():
            text = render(template, VARIABLES)
            assert "{{" not in text
            assert "checkout" in text
            assert text != render(template, {**VARIABLES, "version": "2", "pool": "checkout-2"})
            assert text.count("{") == text.count("}")


def test_a_metric_gets_its_queries_from_the_pack() -> None:
    errors = PACKS.resolve(JudgeSpec(pack="envoy"), RatioMetric(name="errors", slo=0.01))
    assert render(errors.templates["total"], VARIABLES) == (
        'envoy_cluster_upstream_rq_completed{envoy_cluster_name="checkout@1~4~2"}'
    )
    assert isinstance(errors, RatioMetric)
    assert errors.slo == 0.01
    latency = PACKS.resolve(JudgeSpec(pack="envoy"), HistogramMetric(name="slow", query="latency"))
    assert isinstance(latency, HistogramMetric)
    assert (latency.name, latency.unit) == ("slow", "ms")
    assert PACKS.resolve(JudgeSpec(pack="envoy"), latency) == latency


def test_what_a_pack_does_not_have_is_an_error() -> None:
    with pytest.raises(ValueError, match="unknown pack nope, expected caddy"):
        PACKS.resolve(JudgeSpec(pack="nope"), RatioMetric(name="errors"))
    with pytest.raises(ValueError, match="no query oops, expected client_errors"):
        PACKS.resolve(JudgeSpec(pack="envoy"), RatioMetric(name="errors", query="oops"))
    with pytest.raises(ValueError, match="is a histogram, expected a ratio"):
        PACKS.resolve(JudgeSpec(pack="envoy"), RatioMetric(name="latency"))


def test_a_limit_can_watch_a_gauge_of_the_pack() -> None:
    spec = JudgeSpec(pack="haproxy")
    limit = PACKS.resolve(spec, ThresholdMetric(name="latency", limit=0.5))
    assert limit.templates == PACKS.resolve(spec, GaugeMetric(name="latency")).templates


def test_a_query_must_ask_for_raw_series() -> None:
    with pytest.raises(ValueError, match="expected raw series, got rate"):
        RatioQuery(kind="ratio", means="x", bad="rate(a[1m])", total="b")
    with pytest.raises(ValueError, match="unknown variable"):
        GaugeQuery(kind="gauge", means="x", value='a{b="{{cluster}}"}')


def test_a_pool_name_can_be_read_back() -> None:
    name = PoolName(template="{{service}}@{{version}}", replace={".": "~"})
    assert name.of("checkout", "1.4.2") == "checkout@1~4~2"
    assert name.version("1~4~2") == "1.4.2"


def test_envoys_pack_names_pools_as_the_router_does() -> None:
    for version in ("1.4.2", "v1.3.0+build.7", f"sha256:{'ab' * 32}"):
        pool = PACKS.load("envoy").pool
        assert pool.of("checkout", version) == pool_name("checkout", version)
        assert pool.version(pool.of("", version).removeprefix("@")) == version


def test_haproxys_pack_names_pools_as_the_router_does() -> None:
    pack = PACKS.load("haproxy")
    assert pack.versions is not None
    for version in ("1.4.2", "v1.3.0+build.7", f"sha256:{'ab' * 32}"):
        pool = pack.pool.of("checkout", version)
        assert pool == haproxy_names.pool_name("checkout", version)
        found = re.fullmatch(pack.versions.pattern, pool)
        assert found is not None
        assert pack.pool.version(found[1]) == version
        assert not re.fullmatch(
            pack.versions.pattern, haproxy_names.apart_name("checkout", version)
        )
