"""Bars and tree lines for a terminal, with and without colour and Unicode. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from textwrap import wrap

from rich.text import Text

from schemas.outside import one_line


@dataclass(frozen=True)
class Glyphs:
    """What is drawn with."""

    full: str
    empty: str
    branch: str
    last: str
    trunk: str
    arrow: str


UNICODE = Glyphs(full="█", empty="░", branch="├─ ", last="└─ ", trunk="│  ", arrow="→")
ASCII = Glyphs(full="#", empty="-", branch="|- ", last="`- ", trunk="|  ", arrow="->")


def glyphs_for(encoding: str) -> Glyphs:
    """Glyphs that a terminal of this encoding can show."""
    try:
        UNICODE.full.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return ASCII
    return UNICODE


def bar(share: float, width: int, style: str, glyphs: Glyphs) -> Text:
    """A bar of `width` characters, `share` (0 to 1) of it full; full only when it is there."""
    filled = width if share >= 1 else min(round(share * width), width - 1)
    return Text.assemble((glyphs.full * filled, style), (glyphs.empty * (width - filled), "dim"))


def folded(text: str, width: int, most: int) -> list[str]:
    """Anybody's text in lines of at most `width`; what does not fit in `most` ends in an ellipsis.

    A number stays on the line of its per cent sign.
    """
    tied = one_line(text).replace(" %", "\u00a0%")
    lines = wrap(tied, width, break_long_words=True, break_on_hyphens=False)
    lines = [line.replace("\u00a0%", " %") for line in lines]
    if len(lines) <= most:
        return lines
    kept = lines[:most]
    return [*kept[:-1], kept[-1][: width - 2].rstrip() + " …"]


def cut(text: Text, width: int) -> Text:
    """A line of at most `width`."""
    text.truncate(width, overflow="ellipsis")
    return text
