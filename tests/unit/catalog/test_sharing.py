"""A plan of many services is small enough for Temporal, and comes back as it was."""

from __future__ import annotations

import json
import random
import zlib
from base64 import b64encode

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from schemas.catalog import Catalog
from schemas.release import ReleaseInput, ReleasePlan
from schemas.sharing import FEW
from tests.unit.catalog.builders import catalog, deploy
from workflows.planning import MOST_BYTES, PlanError, PlanReason, plan_release

TEMPORAL = 2_000_000


def shop(count: int, queries: int, length: int, *, noise: bool = False) -> Catalog:
    """Services that each spell out their own metrics."""
    draw = random.Random(1)

    def metric(service: str, number: int) -> dict[str, str]:
        paths = (f"/api/v1/{service}/{number}/{at}" for at in range(length))
        text = "".join(draw.choices("abcdefghijklmnop", k=length)) if noise else "|".join(paths)
        query = f'http_requests_total{{service="{service}",pool="{{{{pool}}}}",path=~"{text}'
        bad = query[: length - 2] + '"}'
        return {"kind": "ratio", "name": f"m{number}", "bad": bad, "total": "x"}

    return catalog(
        {
            f"service-{at}": {"metrics": [metric(f"service-{at}", one) for one in range(queries)]}
            for at in range(count)
        }
    )


@pytest.mark.parametrize("count", [130, 1000])
def test_every_service_may_have_its_own_kilobytes_of_metrics(count: int) -> None:
    found = shop(count, 8, 1000)
    plan = plan_release(found, deploy(*found.services))
    written = ReleaseInput(plan=plan).model_dump_json()
    assert len(written) < MOST_BYTES < TEMPORAL
    assert ReleaseInput.model_validate_json(written).plan == plan


def test_what_no_writing_makes_small_is_refused_with_what_helps() -> None:
    found = shop(1000, 8, 1000, noise=True)
    with pytest.raises(PlanError, match=r"services: got 1,000 .* in defaults, .* fewer") as caught:
        plan_release(found, deploy(*found.services))
    assert caught.value.reason is PlanReason.TOO_LARGE


def test_what_counts_is_bytes_and_not_characters() -> None:
    metrics = [
        {"kind": "gauge", "name": f"m{at}", "value": f'x{{a="{"🐤" * 9000}"}}'} for at in range(10)
    ]
    found = catalog({f"s{at}": {"metrics": metrics} for at in range(FEW - 1)})
    with pytest.raises(PlanError, match=r"takes 3,\d{3},\d{3} bytes"):
        plan_release(found, deploy(*found.services))


def test_a_plan_of_few_is_written_for_people() -> None:
    found = catalog({f"s{at}": {} for at in range(FEW)})
    written = json.loads(plan_release(found, deploy(*found.services)).model_dump_json())
    assert written["services"]["s1"]["strategy"]["steps"]
    assert "shared" not in written


@given(st.integers(1, 3 * FEW), st.integers(1, 4), st.integers(0, 3))
def test_a_plan_survives_the_way_through_json(count: int, kinds: int, queries: int) -> None:
    services = {
        f"s{at}": {
            "metrics": [
                {"kind": "threshold", "name": f"m{n}", "value": f"x{at % kinds}", "limit": n}
                for n in range(queries)
            ],
            "strategy": ["standard", "own"][at % 2],
            "depends_on": [f"s{at - 1}"] if at % 3 else [],
        }
        for at in range(count)
    }
    found = catalog(services, strategies={"own": {"steps": [10, {"weight": 20, "gate": "Sure?"}]}})
    plan = plan_release(found, deploy(*services))
    back = ReleasePlan.model_validate_json(plan.model_dump_json())
    assert back == plan
    assert ReleasePlan.model_validate(plan.model_dump()) == plan
    if count > FEW:
        assert len({id(one.alerts) for one in back.services.values()}) == 1


@pytest.mark.parametrize(
    "change",
    [
        {"packed": "no"},
        {"packed": 5},
        {"packed": b64encode(b"x").decode()},
        {"packed": b64encode(zlib.compress(b"[]")).decode()},
        {"packed": b64encode(zlib.compress(b"[" * 100_000)).decode()},
        {"packed": b64encode(zlib.compress(b" " * 200_000_000, 1)).decode()},
        {"shared": 5},
        {"shared": {}},
        {"shared": {"strategy": [{"steps": "x"}]}},
        {"services": {"s1": 5}},
        {"services": 5},
    ],
)
def test_what_was_not_written_so_is_an_error(change: dict[str, object]) -> None:
    found = catalog({f"s{at}": {} for at in range(FEW + 1)})
    written = json.loads(plan_release(found, deploy(*found.services)).model_dump_json())
    with pytest.raises(ValidationError):
        ReleasePlan.model_validate({**written, **change})
