"""What applications get: flags evaluated by the code that OpenFeature's providers have inside."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails

from adapters.errors import Retryable
from schemas.route import Route

_DEVIATIONS: Final = 5.0
"""Of the binomial distribution; one evaluation of 2 million is outside by chance."""


class Evaluation:
    """The flags of one document.

    Args:
        text: the document.

    Raises:
        Retryable: OpenFeature's providers refuse it, and go on with the flags that they have, until
            somebody repairs it.
    """

    def __init__(self, text: str) -> None:
        self._core = FlagdCore()
        try:
            self._core.set_flags(text)
        except (OpenFeatureError, TypeError, AttributeError) as error:
            # Its own errors have the malformed flag in the cause, or in their text.
            raise Retryable(f"OpenFeature refuses the flag definitions: {_said(error)}") from None

    def variant(self, key: str, value: object, user: str) -> str:
        """The variant that a user gets.

        Args:
            key: of the flag.
            value: of any of its variants, for its type.
            user: the targeting key.

        Raises:
            Retryable: the flag can't be evaluated, until somebody repairs it.
        """
        context = EvaluationContext(targeting_key=user)
        try:
            details = self._resolver(value)(key, value, context)
        except OpenFeatureError as error:
            raise Retryable(f"flag {key} can't be evaluated: {_said(error)}") from None
        return str(details.variant)

    def with_variant(
        self, key: str, variants: Mapping[str, Any], variant: str, users: int
    ) -> set[int]:
        """Those of so many made-up users who get a variant."""
        value = variants[variant]
        return {
            number
            for number in range(users)
            if self.variant(key, value, f"aviary-{number}") == variant
        }

    def _resolver(self, value: object) -> Callable[..., FlagResolutionDetails[Any]]:
        core = self._core
        match value:
            case bool():
                return core.resolve_boolean_value
            case str():
                return core.resolve_string_value
            case int():
                return core.resolve_integer_value
            case float():
                return core.resolve_float_value
            case _:
                return core.resolve_object_value


def check_share(service: str, variant: str, weight: float, chosen: int, users: int) -> None:
    """Check that as many users get a variant as shall.

    Args:
        service: that the flag is released as.
        variant: that was looked for.
        weight: its share of the users, percent.
        chosen: users who get it.
        users: that were looked at.

    Raises:
        Retryable: it is not within five standard deviations of the binomial distribution.
    """
    share = weight / 100
    allowed = _DEVIATIONS * math.sqrt(users * share * (1 - share)) + 1
    if abs(chosen - share * users) > allowed:
        raise Retryable(
            f"{service}: {chosen} of {users} users get {variant}, expected "
            f"{share * users:.0f} ± {allowed:.0f}"
        )


def check_kept(route: Route, before: set[int], now: set[int]) -> None:
    """Check that nobody who had the canary has lost it while its weight grew.

    Raises:
        Retryable: somebody has.
    """
    if lost := before - now:
        raise Retryable(
            f"{route.service}: {len(lost)} of {len(before)} users who had {route.canary} lost it, "
            "though its weight grew"
        )


def _said(error: BaseException) -> str:
    """The words of an error, or of what caused it."""
    return str(error) or str(error.__cause__ or "") or type(error).__name__
