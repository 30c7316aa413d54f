"""The search attributes of a run: what the Temporal UI's lists filter and sort by."""

from __future__ import annotations

from collections.abc import Iterable

from temporalio import workflow
from temporalio.common import SearchAttributeKey, SearchAttributePair, TypedSearchAttributes

with workflow.unsafe.imports_passed_through():
    from schemas import attributes
    from schemas.outside import NAME_MOST, cut
    from schemas.phase_facts import RUNNING
    from schemas.release import Cause, ReleasePlan, ServicePlan
    from schemas.verdict import Verdict

LIST_BYTES = 1800
"""Temporal refuses a value over 2 kB, and with it the workflow task, for ever."""
_QUOTES = 3
"""Of the encoding, for each value of a list."""

_ONE = {name: SearchAttributeKey.for_keyword(name) for name in attributes.KEYWORDS}
_MANY = {name: SearchAttributeKey.for_keyword_list(name) for name in attributes.KEYWORD_LISTS}


class Attributes:
    """Sets attributes where they change; each set is one event of the history.

    Args:
        known: whether this Temporal has the attributes; setting one that it doesn't know fails the
            workflow task for ever.
        state: what the run was started with.
    """

    def __init__(self, *, known: bool, state: str = "") -> None:
        self._known = known
        self._last = {attributes.STATE: state}

    def begin(self, plan: ReleasePlan) -> None:
        """What does not change during a release."""
        if self._known:
            workflow.upsert_search_attributes(
                [
                    _ONE[attributes.RELEASE].value_set(plan.release),
                    _ONE[attributes.ENVIRONMENT].value_set(cut(plan.environment, NAME_MOST)),
                    _MANY[attributes.SERVICE].value_set(fitting(plan.services)),
                    _MANY[attributes.VERSION].value_set(
                        fitting(one.version for one in plan.services.values())
                    ),
                ]
            )

    def enter(
        self, state: str, *, verdict: Verdict | None = None, cause: Cause | None = None
    ) -> None:
        """Where the run is; what is None stays as it was set before."""
        values = {attributes.STATE: state}
        if verdict is not None:
            values[attributes.VERDICT] = verdict.kind.value
        if cause is not None:
            values[attributes.CAUSE] = cause.kind.value
            values[attributes.CAUSE_SERVICE] = cause.service or ""
        changed = {name: one for name, one in values.items() if self._last.get(name, "") != one}
        if changed and self._known:
            workflow.upsert_search_attributes(
                [_ONE[name].value_set(value) for name, value in changed.items()]
            )
        self._last |= changed


def of_canary(release: str, environment: str, plan: ServicePlan) -> TypedSearchAttributes:
    """What a canary is started with."""
    one = {
        attributes.RELEASE: release,
        attributes.ENVIRONMENT: cut(environment, NAME_MOST),
        attributes.STATE: RUNNING,
    }
    many = {attributes.SERVICE: [plan.service], attributes.VERSION: [plan.version]}
    return TypedSearchAttributes(
        [
            *(SearchAttributePair(_ONE[name], value) for name, value in one.items()),
            *(SearchAttributePair(_MANY[name], value) for name, value in many.items()),
        ]
    )


def fitting(values: Iterable[str]) -> list[str]:
    """Each value once, in order, as many as Temporal takes."""
    kept: list[str] = []
    left = LIST_BYTES
    for value in dict.fromkeys(values):
        left -= len(value.encode()) + _QUOTES
        if left < 0:
            break
        kept.append(value)
    return kept
