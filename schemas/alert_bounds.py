"""How large one alert may be, whoever sent it: texts and label sets are cut where they enter.

Every bound holds for what is kept already, so that cutting twice changes nothing.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Container, Mapping
from functools import partial
from typing import Annotated, Any, Final

from pydantic import AfterValidator, Field, ValidationInfo

from schemas.outside import NAME_MOST, TEXT_MOST, cut, hide_user

LABELS: Final = 64
"""Labels, or annotations, of one alert."""
LABELS_CHARS: Final = 8_000
"""Characters of all its labels, or all its annotations, names and values together."""
ALERT_BYTES: Final = 128 * 1024
"""No alert is larger as JSON, even if each of its characters takes six bytes there."""

KEPT: Final = "kept"
"""In the context of a validation: names of labels that are left out last, as they decide."""

_HALVES: Final = re.compile("[\ud800-\udfff]")
_REST: Final = "…"
_REST_CHARS: Final = 100
_TOLD: Final = frozenset({"summary", "description", "message", "runbook_url"})


def is_whole(text: str) -> bool:
    """Whether it can be written as UTF-8: it has no half of a surrogate pair."""
    return text.isascii() or not _HALVES.search(text)


def cut_whole(text: str, most: int) -> str:
    """The text within its bound.

    Raises:
        ValueError: it can't be written as UTF-8.
    """
    if not is_whole(text):
        raise ValueError("expected text, without halves of surrogate pairs")
    return cut(text, most)


def cut_set(pairs: Mapping[str, str], most: int, kept: Container[str] = ()) -> dict[str, str]:
    """Names and values within the bounds, in their order.

    What is too much for `LABELS` or `LABELS_CHARS` is left out, longest first, and an entry named
    `…` says how much that was.

    Args:
        pairs: labels or annotations.
        most: characters of one value.
        kept: names that are left out last.

    Raises:
        ValueError: a name or value can't be written as UTF-8.
    """
    short = {cut_whole(n, NAME_MOST): cut_whole(value, most) for n, value in pairs.items()}
    if len(short) <= LABELS and _chars(short) <= LABELS_CHARS:
        return short
    short.pop(_REST, None)
    room, chosen = LABELS_CHARS - _REST_CHARS, set[str]()
    for name in sorted(short, key=lambda name: (name not in kept, len(name) + len(short[name]))):
        room -= len(name) + len(short[name])
        if room < 0 or len(chosen) == LABELS - 1:
            break
        chosen.add(name)
    whole = json.dumps(dict(pairs), sort_keys=True).encode()
    digest = hashlib.sha256(whole).hexdigest()[:16]
    rest = f"{len(pairs) - len(chosen)} more of {len(pairs)}, sha256 of all {digest}"
    return {name: value for name, value in short.items() if name in chosen} | {_REST: rest}


def _chars(pairs: Mapping[str, str]) -> int:
    return sum(len(name) + len(value) for name, value in pairs.items())


def _cut_labels(labels: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    context: Any = info.context
    kept = context.get(KEPT, ()) if isinstance(context, dict) else ()
    return cut_set(labels, NAME_MOST, kept)


def _cut_annotations(annotations: dict[str, str]) -> dict[str, str]:
    return cut_set(annotations, TEXT_MOST, _TOLD)


_Name = Annotated[str, AfterValidator(partial(cut_whole, most=NAME_MOST))]

Fingerprint = Annotated[_Name, Field(min_length=1)]
Labels = Annotated[dict[str, str], AfterValidator(_cut_labels)]
Annotations = Annotated[dict[str, str], AfterValidator(_cut_annotations)]
# Hidden before it is cut: the word for what is hidden may be longer.
GeneratorUrl = Annotated[
    str, AfterValidator(hide_user), AfterValidator(partial(cut_whole, most=TEXT_MOST))
]
ExternalUrl = Annotated[
    str, AfterValidator(hide_user), AfterValidator(partial(cut_whole, most=NAME_MOST))
]
"""Repeated in the record of each alert of a notification, and so the shortest."""
