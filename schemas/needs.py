"""What a version needs of what it shares with the one beside it: `needs: {schema: ">= 42"}`.

A hook of the need's name says what there is, and whether the version beside still works with it.
Here belongs how the two are held against each other; when the hook is asked does not.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable
from typing import Annotated, Any, Final

from pydantic import AfterValidator, BeforeValidator, Field

from schemas.base import Version
from schemas.hooks import HookAnswer, HookMoment, Said
from schemas.outside import Name
from schemas.router_spec import KindName

_OPERATORS: Final[dict[str, Callable[[Any, Any], bool]]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    "!=": operator.ne,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER: Final = r"[0-9]{1,18}(?:\.[0-9]{1,18}){0,5}"
_BOUND: Final = re.compile(rf"\s*(>=|<=|==|!=|>|<)\s*({_NUMBER})\s*")
_HAS: Final = re.compile(_NUMBER)
_PLACES: Final = 6
NEEDS_MOST: Final = 10
AFTERWARDS: Final = frozenset(
    {HookMoment.DURING_BAKE, HookMoment.AFTER_STEP, HookMoment.BEFORE_FINALIZE}
)
"""Moments at which the new version has written what the one beside it may have to read."""


def _checked(text: str) -> str:
    if any(_BOUND.fullmatch(bound) is None for bound in text.split(",")):
        example = 'such as ">= 42" or ">= 42, < 50"'
        raise ValueError(f"expected bounds {example}: numbers, with dots between them or without")
    return ", ".join(" ".join(_of(bound)) for bound in text.split(","))


def _as_text(value: Any) -> Any:
    """A number that YAML has read means the text that was written."""
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Bounds = Annotated[
    str,
    Field(min_length=1, max_length=200, description='Bounds: ">= 42", or ">= 42, < 50".'),
    AfterValidator(_checked),
]
"""What a version needs of one thing: all bounds have to hold."""
Needs = Annotated[dict[KindName, Bounds], Field(max_length=NEEDS_MOST)]
"""What a version needs, by the name of the hook that says what there is."""
Has = Annotated[Name, BeforeValidator(_as_text)]
"""What there is, as a hook says it."""


def is_number(has: str) -> bool:
    """Whether it can be held against bounds."""
    return _HAS.fullmatch(has) is not None


def meets(has: str, bounds: str) -> bool:
    """Whether what there is is within all bounds; `42` and `42.0` are the same.

    Raises:
        ValueError: it is no number with dots.
    """
    if not is_number(has):
        raise ValueError(f"expected a number, with dots or without, got {has!r}")
    found = _places(has)
    return all(
        _OPERATORS[sign](found, _places(number)) for sign, number in map(_of, bounds.split(","))
    )


def held_against(
    answer: HookAnswer, need: str, bounds: str, version: Version, stable: Version | None
) -> HookAnswer:
    """What an answer means where something is needed: a yes only if it is one both ways.

    Args:
        answer: of the hook.
        need: its name.
        bounds: what the new version needs of it.
        version: the new one.
        stable: the one beside it; None after a first deployment.
    """
    if answer.said is not Said.YES:
        return answer
    why = _missing(answer, need, bounds, version, stable)
    if why is None:
        return answer
    reason = f"{why}: {answer.reason}" if answer.reason else why
    return answer.model_copy(update={"said": Said.NO, "reason": reason})


def _missing(
    answer: HookAnswer, need: str, bounds: str, version: Version, stable: Version | None
) -> str | None:
    """Why it is no yes, if it is none."""
    if not answer.has or not is_number(answer.has):
        return f'it did not say which {need} there is ("has")'
    if not meets(answer.has, bounds):
        return f"{version} needs {need} {bounds}, there is {answer.has}"
    if stable is None:
        return None
    if answer.stable_works is None:
        return f'it did not say whether {stable} works with {need} {answer.has} ("stable_works")'
    if not answer.stable_works:
        return f"{stable} does not work with {need} {answer.has}: there would be no way back"
    return None


def _of(bound: str) -> tuple[str, str]:
    found = _BOUND.fullmatch(bound)
    if found is None:
        raise ValueError(f"expected a bound, got {bound!r}")
    return found[1], found[2]


def _places(number: str) -> tuple[int, ...]:
    places = [int(place) for place in number.split(".")]
    return (*places, *(0,) * (_PLACES - len(places)))
