"""Why something from outside was not accepted: a closed reason and a sentence for a person."""

from __future__ import annotations

import json
from enum import StrEnum
from typing import Any, Final

from pydantic import ValidationError

_SHOWN: Final = 80


class RejectReason(StrEnum):
    """Why a record is on `aviary.deadletters`; the same words in metrics, logs and headers."""

    UNPARSABLE = "unparsable"
    """Not UTF-8 JSON, or no value at all."""
    NOT_CLOUDEVENT = "not_cloudevent"
    """JSON, but without what CloudEvents 1.0 requires."""
    UNKNOWN_TYPE = "unknown_type"
    """A CloudEvent of a type that Aviary does not act upon."""
    INVALID_DATA = "invalid_data"
    """A field of the event or alert is missing, unknown or out of range."""
    UNKNOWN_SERVICE = "unknown_service"
    """It names a service that the catalog does not have, or no service at all."""
    UNKNOWN_STRATEGY = "unknown_strategy"
    UNFIT_STRATEGY = "unfit_strategy"
    """It names a strategy that the catalog does not have."""
    UNPLANNABLE = "unplannable"
    """The catalog gives no plan for it, for a reason other than these."""
    CONFLICTING_RELEASE = "conflicting_release"
    """It says something else under a release id that is known already."""
    OTHER_ENVIRONMENT = "other_environment"
    """It is meant for an environment other than the catalog's."""
    REFUSED = "refused"
    """Temporal said that it can never accept this request."""


class Rejected(ValueError):  # noqa: N818 - the word of the dead letters
    """Input that can never be acted upon: says which field, which value, and what was expected."""

    def __init__(self, reason: RejectReason, text: str) -> None:
        """Keep the reason apart from the text, so that it can be counted."""
        super().__init__(text)
        self.reason = reason
        self.text = text


def show(value: Any) -> str:
    """A value as it stands in an error: its repr, cut to a readable length."""
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def explain(error: ValidationError, *prefix: str) -> str:
    """Say each problem as `field: what is wrong, got value`, joined by `; `."""
    lines = []
    for problem in error.errors(include_url=False, include_context=False):
        path = ""
        for part in (*prefix, *problem["loc"]):
            dotted = f".{part}" if path else str(part)
            path += f"[{part}]" if isinstance(part, int) else dotted
        where = path or "document"
        if problem["type"] == "missing":
            lines.append(f"{where}: missing, expected a value")
        elif problem["type"] == "extra_forbidden":
            lines.append(f"{where}: unknown field, expected none of this name")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            lines.append(f"{where}: {message}, got {show(problem['input'])}")
    return "; ".join(lines)


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice}: given twice, expected once")
    return found


def _no_constant(name: str) -> float:
    raise ValueError(f"value: {name} is not JSON, expected a number")


def load_json(value: bytes | None) -> Any:
    """Read strict JSON: UTF-8, no duplicate fields, no NaN, no bottomless nesting.

    Raises:
        Rejected: with reason `unparsable`.
    """
    if not value:
        raise Rejected(RejectReason.UNPARSABLE, "value: empty, expected a JSON document")
    try:
        document = json.loads(
            value.decode("utf-8"), object_pairs_hook=_no_duplicates, parse_constant=_no_constant
        )
        # An escaped half of a surrogate pair is JSON, but no text: nothing could pass it on.
        json.dumps(document, ensure_ascii=False).encode("utf-8")
    except RecursionError:
        text = "value: nested too deeply, expected a JSON document of ordinary depth"
        raise Rejected(RejectReason.UNPARSABLE, text) from None
    except ValueError as error:
        text = f"value: not valid JSON ({error}), got {show(value)}"
        raise Rejected(RejectReason.UNPARSABLE, text) from error
    return document
