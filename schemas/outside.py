"""Text from outside: bounded where it enters, and plain text for ever after.

`cut` is for the border: nothing longer than its bound goes on, and what was left out can be told
and found. `visible` is for every place where people see it: no character of it can act on a
terminal, a log, or the lines around it. `one_line` is for where there is one line, `unlinked` for
places that make links of what they are given, and `inert` for those that read markup as well.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from typing import Annotated, Final

from pydantic import AfterValidator

NAME_MOST: Final = 200
"""Longest name from outside (of an alert, a label, a sender), in characters."""
TEXT_MOST: Final = 2000
"""Longest text from outside (a summary, a reason, an error), in characters."""

_DIGEST: Final = 16
# Up to the last @ before the path: a password may have one, too. Or, behind a user and what is no
# port, up to the first: few people escape what a password has of an address's own signs.
_USER: Final = re.compile(r"//(?:[^/\s'\"]*|[^/\s@:\[]+:(?!\d+(?:[/?#'\",)\]]|$))[^\s@]{0,200})@")
_QUERY: Final = re.compile(r"(?<=[?&;#])([\w-]{1,40})=([^&;#\s'\"]+)")
# Controls, formats (bidirectional overrides among them), halves of surrogate pairs, and the two
# separators that some readers take for the end of a line.
_ACTING: Final = {"Cc", "Cf", "Cs", "Zl", "Zp"}
# Letters and signs that nobody sees, and selectors that no font knows: text hides in them.
_UNSEEN: Final = frozenset(map(chr, (0x115F, 0x1160, 0x2800, 0x3164, 0xFFA0))) | frozenset(
    map(chr, range(0xE0100, 0xE01F0))
)
_KEPT_FORMATS: Final = {"\u200d"}  # the joiner within emoji and some scripts, which acts on nothing

_SECRET: Final = re.compile(
    r"(^|_)(password|passwd|passphrase|token|secret|credentials?|api_?key|private_key)$"
)
_MENTION: Final = re.compile(r"([@＠])(?=\S)")  # noqa: RUF001 - some read the wide one, too
_SCHEME: Final = re.compile(r":(?=//)|(?<=\bmailto):|(?<=\btel):", re.IGNORECASE)
_WWW: Final = re.compile(r"\b(www)\.(?=\S)", re.IGNORECASE)
# A dot in a name that may be a domain: letters follow, two or more, of any script.
_DOMAIN: Final = re.compile(r"(?<=\w)[.。．｡](?=(?:[^\W\d_]{2,}|xn--[\w-]+)(?!\w))")  # noqa: RUF001
_TAG: Final = re.compile(r"<(?=\S)")
_CALL: Final = re.compile(r"(?<=< )!(?=\S)")


def cut(text: str, most: int) -> str:
    """The text, or its beginning and a note of what was left out, at most `most` characters.

    The note has the whole length and the beginning of its SHA-256 (of UTF-8, with halves of
    surrogate pairs as Python's `surrogatepass` writes them), so that the whole can be recognized.

    Raises:
        ValueError: `most` has no room for the note.
    """
    if len(text) <= most:
        return text
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST]
    note = f"… ({len(text)} characters, sha256 {digest})"
    if len(note) > most:
        raise ValueError(f"most: got {most}, expected room for a note of {len(note)} characters")
    return text[: most - len(note)] + note


Name = Annotated[str, AfterValidator(lambda text: cut(text, NAME_MOST))]
"""A name from outside, cut where a model takes it."""
Text = Annotated[str, AfterValidator(lambda text: cut(text, TEXT_MOST))]
"""A text from outside, likewise."""


def visible(text: str, *, lines: bool = False) -> str:
    r"""The text with every character that acts on its reader spelt out, as in `\x1b` or `\u202e`.

    Args:
        text: from anybody.
        lines: leave line feeds and tabs as they are, where the place is made for several lines.
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(_spelt(each, lines=lines) for each in text)


def hide_user(text: str) -> str:
    """The text with user, password, and secrets of the query of every address in it hidden."""
    if "@" in text:
        text = _USER.sub("//(hidden)@", text)
    return _QUERY.sub(_unless_secret, text) if "=" in text else text


def _unless_secret(pair: re.Match[str]) -> str:
    return f"{pair[1]}=(hidden)" if is_secret(pair[1]) else pair[0]


def is_secret(name: str) -> bool:
    """Whether only a secret has such a name: `token`, `api-key`, `db_password`."""
    return _SECRET.search(name.lower().replace("-", "_")) is not None


def one_line(text: str) -> str:
    """Visible, and in one line: what breaks a line is a blank."""
    return visible(" ".join(text.split()))


def unlinked(text: str) -> str:
    """One line in which no reader finds an address to make a link of, nor a mention.

    Nothing is hidden: they are written as people write those that should not be followed, as in
    `https[:]//example.com` and `[@]everyone`.
    """
    text = _WWW.sub(r"\1[.]", _SCHEME.sub("[:]", one_line(text)))
    return _MENTION.sub(r"[\1]", text)


def inert(text: str) -> str:
    """Unlinked, for services that read tags and Markdown, and have no common way to escape them.

    Some make a link of any name with a domain in it, so that its dots are written `[.]`. What opens
    a tag, or a link with a text of its own (`[x](…)`), has a blank in between.
    """
    text = _DOMAIN.sub("[.]", _CALL.sub("! ", _TAG.sub("< ", unlinked(text))))
    return text.replace("`", "'").replace("||", "| |").replace("](", "] (")


def in_json(text: str) -> str:
    """A JSON document in which whatever acts is escaped as JSON does it: nothing of it is lost."""
    if visible(text, lines=True) == text:
        return text
    return "".join(
        each if visible(each, lines=True) == each else json.dumps(each)[1:-1] for each in text
    )


def _spelt(character: str, *, lines: bool) -> str:
    if character in _KEPT_FORMATS or (lines and character in "\n\t"):
        return character
    if unicodedata.category(character) not in _ACTING and character not in _UNSEEN:
        return character
    return character.encode("unicode_escape", "surrogatepass").decode("ascii")
