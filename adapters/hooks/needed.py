"""What a hook says of what is needed, in a JSON object: which there is, and who works with it."""

from __future__ import annotations

from typing import Any

from schemas.outside import NAME_MOST


def needed(document: Any) -> dict[str, Any]:
    """The fields of an answer that say it: `has` and `stable_works`; those that are there.

    Raises:
        ValueError: one of them is there, and can't be read.
    """
    if not isinstance(document, dict):
        return {}
    found: dict[str, Any] = {}
    if (has := document.get("has")) is not None:
        if isinstance(has, bool) or not isinstance(has, int | str) or len(str(has)) > NAME_MOST:
            raise ValueError("has: expected a whole number, or text such as 4.2")
        found["has"] = str(has).strip()
    if (works := document.get("stable_works")) is not None:
        if not isinstance(works, bool):
            raise ValueError("stable_works: expected true or false")
        found["stable_works"] = works
    return found
