"""Conditions of Argo's analyses, as far as limits can stand for them.

    condition  = and { ("||" | "or") and }
    and        = not { ("&&" | "and") not }
    not        = ("!" | "not") not | "(" condition ")" | comparison | test
    comparison = value OP number | number OP value | "len(result)" OP number
    test       = ("isNaN" | "isNil") "(" value ")" | "all(result," "{" "#" OP number "}" ")"
    value      = "result" | "result[0]" | "asFloat(" value ")" | "default(" value "," number ")"

Whatever else the expression language has is refused, and so is what these words say and limits
can't: a catalog's limit has one side, so that several may hold at once, and none can be an
alternative.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final

_LONGEST: Final = 1000
_DEEPEST: Final = 20
_TOKEN: Final = re.compile(
    r"\s*(?:(?P<number>[0-9]+(?:\.[0-9]+)?(?:[eE][-+]?[0-9]{1,3})?)|(?P<word>[A-Za-z_]\w*)"
    r"|(?P<sign>&&|\|\||<=|>=|==|!=|[-<>!()\[\]{},#]))",
    re.ASCII,
)
_FLIPPED: Final = {"<": ">", ">": "<", "<=": ">=", ">=": "<=", "==": "==", "!=": "!="}
_OPPOSITE: Final = {"<": ">=", ">": "<=", "<=": ">", ">=": "<", "==": "!=", "!=": "=="}


class NotUnderstoodError(ValueError):
    """A condition that limits can't stand for; says what of it."""


@dataclass(frozen=True)
class Bound:
    """The value is good as long as this holds."""

    operator: str
    """`<`, `<=`, `>` or `>=`."""
    number: float

    @property
    def lower(self) -> bool:
        """Whether smaller values are bad."""
        return self.operator.startswith(">")

    @property
    def strict(self) -> bool:
        """Whether the number itself is bad: to a limit of a catalog it is good."""
        return "=" not in self.operator


@dataclass(frozen=True)
class Condition:
    """What is good: all bounds hold."""

    bounds: tuple[Bound, ...]
    lack_is_good: bool = False
    """Whether no data, or NaN, is said to be good."""
    names_lack: bool = False
    """Whether anything is said of no data or NaN."""
    first_only: bool = False
    """Whether it looks at the first series alone; else at each, or at a single number."""
    plain: bool = False
    """Whether it takes the result for a single number, and not for a list."""


@dataclass(frozen=True)
class _Compare:
    operator: str
    number: float
    shape: str
    """`result`, `result[0]` or `#`."""


@dataclass(frozen=True)
class _Lack:
    """No data, or NaN; `there` says the opposite."""

    there: bool = False


@dataclass(frozen=True)
class _Both:
    parts: tuple[_Formula, ...]


@dataclass(frozen=True)
class _Either:
    parts: tuple[_Formula, ...]


_Formula = _Compare | _Lack | _Both | _Either


def success(text: str) -> Condition:
    """What a `successCondition` says is good.

    Raises:
        NotUnderstoodError: it says something else than limits can.
    """
    return _condition(_Reader(text).read())


def failure(text: str) -> Condition:
    """What is good where a `failureCondition` does not hold.

    Raises:
        NotUnderstoodError: it says something else than limits can.
    """
    return _condition(_negated(_Reader(text).read()))


def _negated(formula: _Formula) -> _Formula:
    if isinstance(formula, _Compare):
        if formula.shape == "#":
            raise NotUnderstoodError("that one of all series is good is no limit")
        return _Compare(_OPPOSITE[formula.operator], formula.number, formula.shape)
    if isinstance(formula, _Lack):
        return _Lack(not formula.there)
    parts = tuple(_negated(part) for part in formula.parts)
    return _Either(parts) if isinstance(formula, _Both) else _Both(parts)


def _condition(good: _Formula) -> Condition:
    """Limits that say the same as a formula of what is good."""
    choices = _flat(good, _Either)
    lacks = [one for one in choices if isinstance(one, _Lack)]
    rest = [one for one in choices if not isinstance(one, _Lack)]
    if any(one.there for one in lacks):
        raise NotUnderstoodError("any value at all is good")
    if len(rest) != 1:
        raise NotUnderstoodError("it has alternatives, and limits must all hold")
    bounds: list[Bound] = []
    shapes: set[str] = set()
    guarded = False
    for part in _flat(rest[0], _Both):
        if isinstance(part, _Lack):
            if not part.there:
                raise NotUnderstoodError("no data is good, and nothing else")
            guarded = True
        elif isinstance(part, _Compare):
            bounds += _bounds(part)
            shapes.add(part.shape)
        else:
            raise NotUnderstoodError("it has alternatives, and limits must all hold")
    if not bounds:
        raise NotUnderstoodError("it compares no value with a number")
    if len(shapes) > 1:
        raise NotUnderstoodError("it takes the result for a list and for a number")
    shape = shapes.pop()
    return Condition(
        tuple(bounds),
        lack_is_good=bool(lacks),
        names_lack=bool(lacks) or guarded,
        first_only=shape == "result[0]",
        plain=shape == "result",
    )


def _bounds(compare: _Compare) -> list[Bound]:
    if compare.operator == "!=":
        raise NotUnderstoodError("all values but one are good")
    if compare.operator == "==":
        return [Bound("<=", compare.number), Bound(">=", compare.number)]
    return [Bound(compare.operator, compare.number)]


def _flat(formula: _Formula, kind: type[_Both | _Either]) -> list[_Formula]:
    if not isinstance(formula, kind):
        return [formula]
    return [one for part in formula.parts for one in _flat(part, kind)]


class _Reader:
    """Reads one condition; whatever is not in the grammar is refused."""

    def __init__(self, text: str) -> None:
        if len(text) > _LONGEST:
            raise NotUnderstoodError(f"it is longer than {_LONGEST:,} characters")
        self._tokens = _tokens(text)
        self._at = 0
        self._deep = 0

    def read(self) -> _Formula:
        found = self._either()
        if self._at < len(self._tokens):
            raise NotUnderstoodError(f"{self._tokens[self._at]!r} is not expected there")
        return found

    def _either(self) -> _Formula:
        self._deep += 1
        if self._deep > _DEEPEST:
            raise NotUnderstoodError(f"it has more than {_DEEPEST} levels of brackets")
        parts = [self._both()]
        while self._took("||", "or"):
            parts.append(self._both())
        self._deep -= 1
        return parts[0] if len(parts) == 1 else _Either(tuple(parts))

    def _both(self) -> _Formula:
        parts = [self._one()]
        while self._took("&&", "and"):
            parts.append(self._one())
        return parts[0] if len(parts) == 1 else _Both(tuple(parts))

    def _one(self) -> _Formula:
        negated = False
        while self._took("!", "not"):
            negated = not negated
        found = self._plain()
        return _negated(found) if negated else found

    def _plain(self) -> _Formula:
        if self._took("("):
            found = self._either()
            self._expect(")")
            return found
        word = self._peek()
        if word in {"isNaN", "isNil"}:
            self._at += 1
            self._expect("(")
            self._value()
            self._expect(")")
            return _Lack()
        return self._all() if word == "all" else self._comparison()

    def _all(self) -> _Formula:
        self._expect("all", "(", "result", ",", "{", "#")
        operator, number = self._operator(), self._number()
        self._expect("}", ")")
        return _Compare(operator, number, "#")

    def _comparison(self) -> _Formula:
        if self._is_number():
            number, operator = self._number(), _FLIPPED[self._operator()]
            return self._against(operator, number, *self._side())
        side = self._side()
        return self._against(self._operator(), self._number(), *side)

    def _side(self) -> tuple[str, float | None]:
        if self._peek() == "len":
            self._expect("len", "(", "result", ")")
            return "len", None
        return self._value()

    @staticmethod
    def _against(operator: str, number: float, shape: str, instead: float | None) -> _Formula:
        if shape == "len":
            return _of_length(operator, number)
        compare = _Compare(operator, number, shape)
        if instead is None:
            return compare
        return _Either((_Lack(), compare)) if _holds(instead, compare) else compare

    def _value(self) -> tuple[str, float | None]:
        """What is compared, and what stands for it where there is none."""
        if self._took("asFloat"):
            self._expect("(")
            found = self._value()
            self._expect(")")
            return found
        if self._took("default"):
            self._expect("(")
            shape, _ = self._value()
            self._expect(",")
            instead = self._number()
            self._expect(")")
            return shape, instead
        self._expect("result")
        if not self._took("["):
            return "result", None
        self._expect("0", "]")
        return "result[0]", None

    def _operator(self) -> str:
        found = self._peek()
        if found not in _FLIPPED:
            raise NotUnderstoodError(f"{found or 'its end'!r} is no comparison with a number")
        self._at += 1
        return found

    def _is_number(self) -> bool:
        found = self._peek()
        return found == "-" or found[:1].isdigit()

    def _number(self) -> float:
        sign = -1.0 if self._took("-") else 1.0
        found = self._peek()
        if not found[:1].isdigit():
            raise NotUnderstoodError(f"{found or 'its end'!r} is no number")
        self._at += 1
        number = sign * float(found)
        if number - number != 0:
            raise NotUnderstoodError(f"{found} is too large a number")
        return number

    def _peek(self) -> str:
        return self._tokens[self._at] if self._at < len(self._tokens) else ""

    def _took(self, *words: str) -> bool:
        if self._peek() not in words:
            return False
        self._at += 1
        return True

    def _expect(self, *words: str) -> None:
        for word in words:
            if not self._took(word):
                raise NotUnderstoodError(f"{self._peek() or 'its end'!r} stands for {word!r}")


def _tokens(text: str) -> list[str]:
    found, at = [], 0
    text = text.strip()
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise NotUnderstoodError(f"{text[at:].lstrip()[:20]!r} is not known")
        found.append(match[0].strip())
        at = match.end()
    return found


def _of_length(operator: str, number: float) -> _Formula:
    """What a comparison of the number of series says of data."""
    empty, *more = (_holds(count, _Compare(operator, number, "")) for count in (0.0, 1.0, 2.0, 1e9))
    if empty and not any(more):
        return _Lack()
    if all(more) and not empty:
        return _Lack(there=True)
    raise NotUnderstoodError("it counts series, beyond whether there are any")


def _holds(value: float, compare: _Compare) -> bool:
    return {
        "<": value < compare.number,
        "<=": value <= compare.number,
        ">": value > compare.number,
        ">=": value >= compare.number,
        "==": value == compare.number,
        "!=": value != compare.number,
    }[compare.operator]
