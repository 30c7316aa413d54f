"""Markdown of a page in Temporal's UI: rows, links, and anybody's text as text.

Pure, but that a link is to the cell of the workflow whose page it is on.
"""

from __future__ import annotations

from urllib.parse import quote

from schemas.ids import canary_workflow_id, release_workflow_id
from schemas.outside import unlinked
from workflows.cell import here

WIDTH = 110
"""Characters of a text in a row."""
_NO_MARKDOWN = str.maketrans({mark: f"&#{ord(mark)};" for mark in "&<>|`*[]_~\\{}"})
_WIDER = 2
"""So many times its characters may a text take in bytes, with what is escaped in it."""


def row(*cells: str) -> str:
    """The UI gives cells no room of their own."""
    return "".join(f"| {cell}\u00a0\u00a0 " for cell in cells) + "|"


def cell(text: str, width: int = WIDTH) -> str:
    """Somebody's text in one line, shown as it is, at most so wide.

    The UI would take HTML, Markdown and addresses in it for the page's own.
    """
    text = unlinked(text)
    shown = [one.translate(_NO_MARKDOWN) for one in text[: width + 1]]
    left = _WIDER * width
    for at, one in enumerate(shown):
        left -= len(one.encode())
        if at == width or left < 0:
            return "".join(shown[: max(at - 1, 0)]) + "…"
    return "".join(shown)


def canary_link(service: str, run: str) -> str:
    """A link to the page of a canary."""
    place = quote(canary_workflow_id(service, here()), safe="")
    page = f"/namespaces/{{namespace}}/workflows/{place}/{quote(run)}/user-metadata"
    return f"[{cell(service)}]({page})"


def release_link(release_id: str, run: str = "") -> str:
    """A link to the page of a release."""
    page = f"/{quote(run)}/user-metadata" if run else ""
    place = quote(release_workflow_id(release_id, here()), safe="")
    name = cell(f"release {release_id}")
    return f"[{name}](/namespaces/{{namespace}}/workflows/{place}{page})"
