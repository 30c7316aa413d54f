"""JSON whose parts are judged one by one: what is odd in one part must not cost the others.

`schemas.rejection.load_json` refuses a document for any oddity in it. Here oddities are kept, so
that whoever reads a part finds them: a field given twice makes that object a `Twice`, bytes that
are not UTF-8 and halves of surrogate pairs become text that no model takes, and a number beyond all
bounds becomes infinite. What nobody reads may be odd.
"""

from __future__ import annotations

import json
import math
from typing import Any, Final

from schemas.rejection import Rejected, RejectReason

VALUES: Final = 1_000_000
"""Values of one document; 10,000 alerts of 40 labels and annotations have half of that."""
_DIGITS: Final = 18
_FLOAT_DIGITS: Final = 400


class Twice(dict[str, Any]):
    """An object that gives a field more than once; `name` is the first such field."""

    name: str = ""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) == len(pairs):
        return found
    odd, seen = Twice(found), set[str]()
    for name, _ in pairs:
        if name in seen:
            odd.name = name
            break
        seen.add(name)
    return odd


def _integer(digits: str) -> int | float:
    if len(digits) <= _DIGITS:
        return int(digits)
    return _float(digits)


def _float(digits: str) -> float:
    return float(digits) if len(digits) <= _FLOAT_DIGITS else math.inf


def load_tolerantly(value: bytes | None) -> Any:
    """Read JSON, in time and memory that grow with its length alone.

    Raises:
        Rejected: `unparsable`: no JSON, or nested too deeply; `too_large`: more than `VALUES`.
    """
    if not value:
        raise Rejected(RejectReason.UNPARSABLE, "value: empty, expected a JSON document")
    # Counted in strings as well, which costs nobody anything and is far quicker than telling apart.
    if value.count(b"[") + value.count(b"{") + value.count(b",") > VALUES:
        text = f"value: more values than expected, at most {VALUES}"
        raise Rejected(RejectReason.TOO_LARGE, text)
    try:
        return json.loads(
            value.decode("utf-8", "surrogateescape"),
            object_pairs_hook=_object,
            parse_int=_integer,
            parse_float=_float,
            parse_constant=_not_json,
        )
    except RecursionError:
        text = "value: nested too deeply, expected a JSON document of ordinary depth"
        raise Rejected(RejectReason.UNPARSABLE, text) from None
    except ValueError as error:
        text = f"value: not valid JSON ({error}), got {value[:80]!r}"
        raise Rejected(RejectReason.UNPARSABLE, text) from error


def _not_json(_: str) -> None:
    """NaN and the infinities: Python's own writer makes them, and no field of ours is a number."""
