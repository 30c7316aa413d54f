"""Writes `docs/reference/event-examples.md`: `python -m tests.unit.events.page`."""

from __future__ import annotations

import json
from pathlib import Path

from tests.unit.events.samples import samples

ROOT = Path(__file__).parents[3]
PAGE = ROOT / "docs/reference/event-examples.md"
HEAD = """# Examples of events

One event of every type on `aviary.events`, as it is on the wire. What each field means is in the
[reference](events.md) and in the [JSON Schema](../events.schema.json), which every example fits.
Fields may be added: ignore those that you don't know.
"""


def page() -> str:
    """The page as it should be."""
    parts = [HEAD]
    for kind, one in samples().items():
        text = json.dumps(json.loads(one.wire()), indent=2, ensure_ascii=False)
        parts.append(f"## {kind}\n\n```json\n{text}\n```\n")
    return "\n".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
