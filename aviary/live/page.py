"""The live page as it is served: one document, one style sheet, one script, and nothing else.

Nothing of a release is in it: the script asks for that with the reader's own token, and puts every
word of others in as text.
"""

from __future__ import annotations

import json
from typing import Final

from fastapi import FastAPI, Response

from aviary.live.script import SCRIPT
from aviary.live.style import STYLE
from aviary.report.html import Markup, tag
from schemas.phases import CanaryPhase, ReleasePhase

POLICY: Final = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'"
)
"""What a browser lets the page do: no script, style or address but its own, and no text as HTML."""
HEADERS: Final = {
    "Content-Security-Policy": POLICY,
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-cache",
}


def _document() -> str:
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width,initial-scale=1"),
        tag("title", "Releases · Aviary"),
        Markup('<link rel="stylesheet" href="live.css">'),
        Markup('<link rel="icon" href="live.svg" type="image/svg+xml">'),
        tag("script", src="live.js", defer=True),
    )
    body = tag(
        "body",
        tag("a", "To the releases", class_="skip", href="#main"),
        tag(
            "header",
            tag("p", tag("a", "Releases", href="#"), id="top"),
            tag("p", id="who", class_="soft"),
        ),
        tag("p", id="told", role="status"),
        tag("main", tag("noscript", "This page needs JavaScript."), id="main", tabindex="-1"),
    )
    return f"<!doctype html>{tag('html', head, body, lang='en')}"


def _phases() -> str:
    """Each state's words, sign and tone, as the script shows them."""
    known = {
        kind: {
            phase.value: [phase.about.sign, phase.words, phase.about.tone, phase.closed]
            for phase in phases
        }
        for kind, phases in (("release", ReleasePhase), ("canary", CanaryPhase))
    }
    return json.dumps(known)


PAGE: Final = _document()
LIVE_SCRIPT: Final = f"const PHASES = {_phases()};\n{SCRIPT}"
ICON: Final = (
    '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 16 16">'
    '<circle cx="8" cy="8" r="7" fill="#1d62c9"/></svg>'
)


def add_page(app: FastAPI) -> None:
    """Add the live page to an app."""
    for path, content, kind in (
        ("/", PAGE, "text/html"),
        ("/live.css", STYLE, "text/css"),
        ("/live.js", LIVE_SCRIPT, "text/javascript"),
        ("/live.svg", ICON, "image/svg+xml"),
    ):
        _add(app, path, content, kind)


def _add(app: FastAPI, path: str, content: str, kind: str) -> None:
    body = content.encode()

    @app.get(path, include_in_schema=False)
    async def part() -> Response:
        return Response(body, headers=HEADERS, media_type=kind)
