"""What the reference shows is true."""

import re
from pathlib import Path

import pytest

from schemas.admission import AdmissionPolicy
from schemas.alert_policy import AlertPolicy
from schemas.catalog import Catalog, Defaults, ServiceSpec
from schemas.notice import SEVERITIES, NoticeRule
from schemas.strategy import Step, Strategy
from tests.catalogs import parse

ROOT = Path(__file__).resolve().parents[3]
REFERENCE = (ROOT / "docs/reference/catalog.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize("text", re.findall(r"```yaml\n(.*?)```", REFERENCE + README, re.DOTALL))
def test_every_example_is_a_valid_catalog(text: str) -> None:
    assert parse(text).services


@pytest.mark.parametrize(
    "model", [Catalog, ServiceSpec, Strategy, Step, AlertPolicy, AdmissionPolicy, NoticeRule]
)
def test_every_field_is_described(model: type[Catalog]) -> None:
    described = set(re.findall(r"^\| `(\w+)", REFERENCE, re.MULTILINE))
    assert set(model.model_fields) <= described


def test_every_notice_has_its_severity() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", REFERENCE, re.MULTILINE)
    assert {(kind.value, severity.value) for kind, severity in SEVERITIES.items()} <= set(rows)


def test_defaults_know_what_services_know() -> None:
    assert set(Defaults.model_fields) == set(ServiceSpec.model_fields) - {
        "depends_on",
        "hooks",
        "lane",
        "mirror",
        "needs",
        "side_by_side",
        "stale_after",
    }
