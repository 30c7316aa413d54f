"""What applications get: flags evaluated by the code that OpenFeature's providers have inside."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from openfeature.contrib.tools.flagd.core import FlagdCore
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import OpenFeatureError
from openfeature.flag_evaluation import FlagResolutionDetails

from adapters.errors import Retryable
from adapters.routers.flag_people import Context, People
from adapters.routers.flag_shares import sample
from schemas.audience import TARGETING_KEY


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

    def variant(self, key: str, value: object, user: Context) -> str:
        """The variant that a user gets.

        Args:
            key: of the flag.
            value: of any of its variants, for its type.
            user: what is said of them; `targetingKey` tells them apart.

        Raises:
            Retryable: the flag can't be evaluated, until somebody repairs it.
        """
        context = EvaluationContext(
            targeting_key=user.get(TARGETING_KEY),
            attributes={name: of for name, of in user.items() if name != TARGETING_KEY},
        )
        try:
            details = self._resolver(value)(key, value, context)
        except OpenFeatureError as error:
            raise Retryable(f"flag {key} can't be evaluated: {_said(error)}") from None
        return str(details.variant)

    def with_variant(
        self,
        key: str,
        variants: Mapping[str, Any],
        variant: str,
        users: Iterable[int],
        people: People,
    ) -> set[int]:
        """Those of some made-up users who get a variant."""
        has = self._has(key, variants, variant, people)
        return {number for number in users if has(number)}

    def sample(
        self, key: str, variants: Mapping[str, Any], variant: str, users: int, people: People
    ) -> tuple[set[int], int]:
        """Those who get a variant, and of how many made-up users (`flag_shares.sample`)."""
        return sample(self._has(key, variants, variant, people), users)

    def _has(
        self, key: str, variants: Mapping[str, Any], variant: str, people: People
    ) -> Callable[[int], bool]:
        value = variants[variant]
        return lambda number: self.variant(key, value, people[number]) == variant

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


def _said(error: BaseException) -> str:
    """The words of an error, or of what caused it."""
    return str(error) or str(error.__cause__ or "") or type(error).__name__
