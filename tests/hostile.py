"""Values of every model with hostile text in every field, made by walking its annotations.

A field that is added to a model is covered without a word here.
"""

from __future__ import annotations

import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime, timedelta
from enum import Enum
from functools import cache
from typing import (
    Annotated,
    Any,
    Literal,
    TypeVar,
    Union,
    cast,
    get_args,
    get_origin,
    get_type_hints,
)

from pydantic import AwareDatetime, BaseModel, JsonValue, RootModel

AT = datetime(2026, 1, 31, 12, 0, tzinfo=UTC)
FORGED = "FORGED 12:00:00 all is well"
TEXTS = {
    "markup": "[/red] disk full [i]x[/i] [link=https://evil.example]y[/link] :bomb: [bold",
    "terminal": "\x1b]52;c;ZXZpbA==\x07\x1b]0;owned\x07\x1b[2J\x1b[1;1H",
    "single byte controls": "\x00\x07\x08\x0b\x0c\x7f\x9b2J\x9d0;x\x9c",
    "lines": f"a\n{FORGED}\r\n{FORGED}\x85{FORGED}\u2028{FORGED}\u2029{FORGED}\r{FORGED}",
    "direction": "\u202egnp.exe\u202c \u2066x\u2069 \u200b\u200e\ufeff\u00ad\U000e0041",
    "html": "</script><script>alert(1)</script><img src=x onerror=alert(2)> & \"q\" 'r'",
    "markdown": "**x** [x](https://evil.example) ![x](http://evil.example) `x` | <b>x</b>\n\n# h",
    "chat": "@everyone @here <!channel> <@U12345> <@&1234> <https://evil.example|x> @[x](y) ||z||",
    "address": "https://evil.example www.evil.example ann@evil.example mailto:ann@evil.example",
    "formats": "{} {0.__class__} {name!r} %s %(x)d $x ${x} \\x1b",
    "long": "wordless" * 400,
}

MARKUP = re.compile(r"@\w|@[&!]|<[@!#a-z/]|\]\(|`|\|\||https?://|www\.\w|mailto:\w", re.IGNORECASE)
"""What some service makes a mention, a link, a tag or a hidden text of."""

_M = TypeVar("_M")
_MADE: dict[Any, Any] = {
    int: 1,
    float: 0.5,
    bool: True,
    bytes: b"x",
    datetime: AT,
    AwareDatetime: AT,
    timedelta: timedelta(seconds=90),
    type(None): None,
    object: None,
}


def every(kind: type[_M], text: str, /, **over: Any) -> _M:
    """A value of a model or dataclass: `text` wherever there may be text, nothing left out.

    Args:
        kind: the model.
        text: for every string in it, keys included.
        over: fields that are to have another value.
    """
    hints = get_type_hints(kind, include_extras=True)
    if issubclass(kind, RootModel):  # whose own hint is that of every other of them
        hints["root"] = kind.model_fields["root"].annotation
    names = kind.model_fields if issubclass(kind, BaseModel) else _names(kind)
    values = {name: over[name] if name in over else _value(hints[name], text) for name in names}
    if issubclass(kind, BaseModel):
        return cast("_M", kind.model_construct(**values))
    return kind(**values)


def _names(kind: Any) -> list[str]:
    assert is_dataclass(kind), kind
    return [field.name for field in fields(kind)]


def _value(hint: Any, text: str) -> Any:
    origin, args = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _value(args[0], text)
    if origin in {Union, types.UnionType}:
        return _value(next(one for one in args if one is not type(None)), text)
    if origin is Literal:
        return args[0]
    if origin in {tuple, list, Sequence, frozenset, set}:
        return origin_of(origin)(_value(one, text) for one in args if one is not Ellipsis)
    if origin in {dict, Mapping} or hint is dict:
        key, value = args or (str, str)
        return {_value(key, text): _value(value, text)}
    return _plain(hint, text)


def origin_of(origin: Any) -> Any:
    """What makes a value of a generic kind."""
    return tuple if origin is Sequence else origin


def _plain(hint: Any, text: str) -> Any:
    if hint in {str, Any, JsonValue}:
        return text
    if hint in _MADE:
        return _MADE[hint]
    if issubclass(hint, Enum):
        return next(iter(hint))
    return every(hint, text)


@cache
def acting() -> frozenset[str]:
    """Every character that acts on its reader."""
    from schemas.outside import visible  # noqa: PLC0415 - what is tested

    return frozenset(one for one in map(chr, range(0x110000)) if visible(one) != one)


def harmless(shown: str, *, wrapped: bool = False) -> str:
    """What was shown, once it is sure that nothing of it acts and that no line is forged.

    Where lines are wrapped, any word may come first in one.
    """
    found = (set(shown) & acting()) - {"\n"}  # a copy of all that act takes milliseconds
    assert not found, f"acts on its reader: {found}"
    assert wrapped or not [line for line in shown.split("\n") if line.startswith(FORGED[:6])]
    return shown
