"""Queries of other tools: plain variables are filled in; whatever else is in braces is refused."""

from __future__ import annotations

import json

import pytest
import yaml

from aviary.moving.rows import Became
from schemas.outside import visible
from tests.unit.moving.imports import imported

ROLLOUT = """
apiVersion: argoproj.io/v1alpha1
kind: Rollout
metadata: {name: checkout, namespace: shop, labels: {app.kubernetes.io/name: till}}
spec:
  strategy:
    canary:
      steps: [{setWeight: 5}, {pause: {duration: 1m}}]
      analysis:
        templates: [{templateName: errors}]
        args:
          - {name: plain, value: abc}
          - {name: matcher, value: 'c="d"'}
          - {name: nested, value: "{{version}}"}
          - name: till
            valueFrom: {fieldRef: {fieldPath: "metadata.labels['app.kubernetes.io/name']"}}
          - {name: space, valueFrom: {fieldRef: {fieldPath: metadata.namespace}}}
          - {name: nothing, valueFrom: {fieldRef: {fieldPath: metadata.uid}}}
          - {name: secret, valueFrom: {secretKeyRef: {name: prometheus, key: token}}}
---
apiVersion: argoproj.io/v1alpha1
kind: AnalysisTemplate
metadata: {name: errors}
spec:
  args: [{name: plain, value: default}, {name: other, value: "5"}]
  metrics:
    - name: errors
      successCondition: result[0] < 5
      provider: {prometheus: {query: QUERY}}
"""


def _metrics(query: str) -> tuple[list[str], list[str]]:
    """The queries of the catalog, and what was refused."""
    found = imported(ROLLOUT.replace("QUERY", json.dumps(query)))
    assert visible(found.catalog, lines=True) == found.catalog
    metrics = yaml.safe_load(found.catalog)["services"]["checkout"]["metrics"]
    refused = [row.text for row in found.report.rows if row.became is Became.REFUSED]
    return [metric["value"] for metric in metrics], refused


@pytest.mark.parametrize(
    ("query", "filled"),
    [
        ('sum(errors{app="{{args.plain}}"})', 'sum(errors{app="abc"})'),
        ('sum(errors{app="{{ args.plain }}"})', 'sum(errors{app="abc"})'),
        ('sum(errors{app="{{args.till}}"})', 'sum(errors{app="till"})'),
        ('sum(errors{ns="{{args.space}}"})', 'sum(errors{ns="shop"})'),
        ("sum(rate(errors[{{args.other}}m]))", "sum(rate(errors[5m]))"),
        ('sum(errors{a="b",{{args.matcher}}})', 'sum(errors{a="b",c="d"})'),
        ("scalar(errors)", None),
        ("sum(errors)\n  / sum(requests)\n", "sum(errors)\n  / sum(requests)"),
        ('sum(errors{app="\u202eabc é"})', 'sum(errors{app="\u202eabc é"})'),
    ],
)
def test_a_query_is_filled_in(query: str, filled: str | None) -> None:
    values, refused = _metrics(query)
    assert values == ([] if filled is None else [filled])
    assert bool(refused) == (filled is None)


@pytest.mark.parametrize(
    ("query", "why"),
    [
        ('sum(errors{app="{{args.gone}}"})', "`{{args.gone}}` is no plain variable"),
        ('sum(errors{app="{{plain}}"})', "`{{plain}}` is no plain variable"),
        ('sum(errors{app="{{args.plain | upper}}"})', "is no plain variable"),
        ('sum(errors{app="{{args.nested}}"})', "braces that are no plain variable"),
        ('sum(errors{app="{{"})', "braces that are no plain variable"),
        ('sum(errors{app="}}"})', "braces that are no plain variable"),
        ('sum(errors{app="{{{args.plain}}}"})', "braces that are no plain variable"),
        ('sum(errors{app="{{args.nothing}}"})', "the Rollout has no text at `metadata.uid`"),
        ('sum(errors{app="{{args.secret}}"})', "a secret, which no catalog holds"),
        ("sum(errors", "expected a query in PromQL"),
        ("", "expected a query"),
        ("x" * 20_000, "longer than 10,000 characters"),
    ],
)
def test_anything_else_is_refused_in_its_own_words(query: str, why: str) -> None:
    values, refused = _metrics(query)
    assert values == []
    assert len(refused) == 1
    assert why in refused[0]
