"""Equal plans share what they have in common, and nothing else."""

from __future__ import annotations

from schemas.interning import interned
from schemas.release import ServicePlan
from schemas.strategy import Strategy
from tests.unit.report.sample import plan_of


def test_equal_plans_share_their_stages() -> None:
    document = plan_of("a").model_dump_json()
    one, another = (ServicePlan.model_validate_json(document) for _ in range(2))
    assert one is not another
    assert one.stages is another.stages
    assert one.strategy is another.strategy


def test_values_of_another_type_are_other_values() -> None:
    assert isinstance(interned(1.0), float)
    assert isinstance(interned(1), int)
    first, second = (Strategy.model_validate({"steps": [step]}) for step in (5, 6))
    assert interned(first) is not interned(second)
