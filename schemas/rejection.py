"""Why something from outside was not accepted: a closed reason and a sentence for a person."""

from __future__ import annotations

import json
import reprlib
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError

from schemas.outside import NAME_MOST, cut

_DIGITS_MOST: Final = 4000
"""Python reads no more than 4,300 digits, and says it in words for programmers."""
DEPTH_MOST: Final = 64
"""Levels of lists and objects within each other, in what is read with a limit."""
_SHOWN: Final = 80
_PROBLEMS: Final = 10
_SAID: Final = 4000


class RejectReason(StrEnum):
    """Why a record is on `aviary.deadletters`; the same words in metrics, logs and headers."""

    UNPARSABLE = "unparsable"
    """Not UTF-8 JSON, or no value at all."""
    UNREADABLE = "unreadable"
    """The record or its whole batch is not as Kafka writes them, or can't be decompressed."""
    TOO_LARGE = "too_large"
    """More bytes, values or levels than anything that is acted upon has."""
    NOT_CLOUDEVENT = "not_cloudevent"
    """JSON, but without what CloudEvents 1.0 requires."""
    UNKNOWN_TYPE = "unknown_type"
    """A CloudEvent of a type that Aviary does not act upon."""
    INVALID_DATA = "invalid_data"
    """A field of the event or alert is missing, unknown or out of range."""
    UNKNOWN_SERVICE = "unknown_service"
    """It names a service that the catalog does not have, or no service at all."""
    UNKNOWN_STRATEGY = "unknown_strategy"
    """It names a strategy that the catalog does not have."""
    UNFIT_STRATEGY = "unfit_strategy"
    """It names a strategy that can't judge one of its services."""
    UNFIT_DEPLOYER = "unfit_deployer"
    """It asks for a version that the service's deployer can't put up."""
    UNPLANNABLE = "unplannable"
    """The catalog gives no plan for it, for a reason other than these."""
    CONFLICTING_RELEASE = "conflicting_release"
    """It says something else under a release id that is known already."""
    OTHER_ENVIRONMENT = "other_environment"
    """It is meant for an environment other than the catalog's."""
    FAULT = "fault"
    """Aviary failed at it, each time that it tried; the log has the details."""
    REFUSED = "refused"
    """Temporal said that it can never accept this request."""


class Rejected(ValueError):  # noqa: N818 - the word of the dead letters
    """Input that can never be acted upon: says which field, which value, and what was expected."""

    def __init__(self, reason: RejectReason, text: str) -> None:
        """Keep the reason apart from the text, so that it can be counted."""
        self.reason = reason
        self.text = cut(text, _SAID)
        super().__init__(self.text)


_SHORT: Final = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 2 * _SHOWN
_SHORT.maxlevel = 4


def show(value: Any) -> str:
    """A value as it stands in an error: its repr, cut to a readable length.

    However large the value is, no more of it is looked at than is shown.
    """
    text = repr(value[: _SHOWN + 1]) if isinstance(value, str | bytes) else _SHORT.repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def explain(error: ValidationError, *prefix: str) -> str:
    """Say each problem as `field: what is wrong, got value`, joined by `; `; the first ten."""
    problems = error.errors(include_url=False, include_context=False)
    lines = [_line(problem, prefix) for problem in problems[:_PROBLEMS]]
    if len(problems) > _PROBLEMS:
        lines.append(f"and {len(problems) - _PROBLEMS} more problems")
    return "; ".join(lines)


def _line(problem: Any, prefix: tuple[str, ...]) -> str:
    path = ""
    for part in (*prefix, *problem["loc"]):
        name = part if isinstance(part, int) else cut(str(part), NAME_MOST)
        path += f"[{name}]" if isinstance(part, int) else f".{name}" if path else str(name)
    where = path or "document"
    if problem["type"] == "missing":
        return f"{where}: missing, expected a value"
    if problem["type"] == "extra_forbidden":
        return f"{where}: unknown field, expected none of this name"
    message = problem["msg"].removeprefix("Value error, ")
    return f"{where}: {message}, got {show(problem['input'])}"


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise ValueError(f"{cut(name, NAME_MOST)}: given twice, expected once")
            seen.add(name)
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"value: {name} is not JSON, expected a number")


def _integer(digits: str) -> int:
    if len(digits) > _DIGITS_MOST:
        raise ValueError(f"a number of {len(digits):,} digits, expected at most {_DIGITS_MOST:,}")
    return int(digits)


def load_json(value: bytes | None, *, values: int | None = None) -> Any:
    """Read strict JSON: UTF-8, no duplicate fields, no NaN, no bottomless nesting.

    Args:
        value: the document.
        values: how many values it may have, fields and items at all levels; None for any number.

    Raises:
        Rejected: with reason `unparsable`; with `too_large` where it has too many values or levels.
    """
    if not value:
        raise Rejected(RejectReason.UNPARSABLE, "value: empty, expected a JSON document")
    try:
        document = json.loads(
            value.decode("utf-8"),
            object_pairs_hook=_no_duplicates,
            parse_constant=_no_constant,
            parse_int=_integer,
        )
        # An escaped half of a surrogate pair is JSON, but no text: nothing could pass it on.
        if b"\\u" in value:
            json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        text = "value: nested too deeply, expected a JSON document of ordinary depth"
        raise Rejected(RejectReason.UNPARSABLE, text) from None
    except ValueError as error:
        text = f"value: not valid JSON ({error}), got {show(value)}"
        raise Rejected(RejectReason.UNPARSABLE, text) from error
    if values is not None:
        _check_shape(document, values)
    return document


def _check_shape(document: Any, most: int) -> None:
    """Refuse what is larger than anything that is meant, before anybody looks at each value."""
    count, level = 1, [document]
    for _ in range(DEPTH_MOST + 1):
        below: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                below += each.values()
            elif isinstance(each, list):
                below += each
            if count + len(below) > most:
                text = f"value: got more than {most} values, expected at most that many"
                raise Rejected(RejectReason.TOO_LARGE, text)
        if not below:
            return
        count, level = count + len(below), below
    text = f"value: got more than {DEPTH_MOST} levels within each other, expected at most that many"
    raise Rejected(RejectReason.TOO_LARGE, text)
