"""The base every document, event and message stands on.

`Model` is frozen and refuses unknown fields. The scalar types below carry the unit and the range of
every number that crosses a boundary.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import timedelta
from functools import cache
from typing import Annotated, Any, get_args, get_origin

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_DURATION_TEXT = r"^([0-9]+(\.[0-9]+)?(ms|s|m|h|d))+$"
_LONGEST = timedelta(days=366)
_LONGEST_TEXT = 100
"""Characters of a duration that is read."""
_PERCENT_TEXT = r"^(100(\.0{1,2})?|[0-9]{1,2}(\.[0-9]{1,2})?)%$"
_SOME = r"^(?=.*[1-9])"
"""Before a pattern of a number: it is not zero."""

DURATION_SCHEMA: dict[str, Any] = {
    "type": "string",
    "pattern": _DURATION_TEXT,
    "description": "A length of time: 90s, 5m, 1h30m, 250ms.",
    "examples": ["30s", "5m"],
}
_VERSION = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}|sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII
)


class Model(BaseModel):
    """Frozen; an unknown field is an error that names it, and so is true or text for a number."""

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_timedelta="float")

    @model_validator(mode="before")
    @classmethod
    def _numbers_are_numbers(cls, data: Any) -> Any:
        """Python takes true for 1, and pydantic does; and it takes "0.05" for 0.05."""
        if isinstance(data, dict):
            wrong = [
                InitErrorDetails(type=_NO_NUMBER, loc=(name, *at), input=value)
                for name, kinds in _numbers_of(cls)
                for at, value in _of_kinds(data.get(name), kinds)
            ]
            if wrong:
                raise ValidationError.from_exception_data(cls.__name__, wrong)
        return data


_NO_NUMBER = PydanticCustomError("no_number", "expected a number")


@cache
def _numbers_of(model: type[BaseModel]) -> tuple[tuple[str, tuple[type, ...]], ...]:
    """The fields of a model that are numbers, or lists of numbers, as a document names them.

    Each with what is no number there. Not those that read what they are given themselves, as
    percentages do.
    """
    return tuple(
        (field.alias or name, (bool,) if _may_be_text(field.annotation) else (bool, str))
        for name, field in model.model_fields.items()
        if _types(field.annotation) & {int, float}
        and bool not in _types(field.annotation)
        and not any(isinstance(one, BeforeValidator) for one in field.metadata)
    )


def _may_be_text(annotation: Any) -> bool:
    """Whether text is among what is taken, or read there in a way of its own."""
    inner = get_args(annotation)
    if not inner:
        return isinstance(annotation, type) and issubclass(annotation, str)
    if get_origin(annotation) is Annotated:
        reads = any(isinstance(one, BeforeValidator) for one in inner[1:])
        return reads or _may_be_text(inner[0])
    return any(isinstance(one, str) or _may_be_text(one) for one in inner)  # text of a Literal


def _types(annotation: Any) -> frozenset[Any]:
    inner = get_args(annotation)
    if not inner:
        return frozenset({annotation} if isinstance(annotation, type) else ())
    if get_origin(annotation) is Annotated:
        return _types(inner[0])
    return frozenset[Any]().union(*(_types(one) for one in inner))


def _of_kinds(value: Any, kinds: tuple[type, ...]) -> Iterator[tuple[tuple[int, ...], object]]:
    if isinstance(value, kinds):
        yield (), value
    elif isinstance(value, list | tuple):
        yield from (((at,), one) for at, one in enumerate(value) if isinstance(one, kinds))


def parse_duration(value: Any) -> timedelta:
    """Read a duration such as `90s`, `5m`, `1h30m` or `250ms`.

    Args:
        value: text of one or more number-unit pairs (ms, s, m, h, d), or a `timedelta`.

    Raises:
        ValueError: anything else, a negative length, or one of more than 366 days.
    """
    if isinstance(value, timedelta):
        seconds = value.total_seconds()
    # The length first: for each pair of a text of a megabyte, the match would keep its state.
    elif (
        isinstance(value, str)
        and len(value) <= _LONGEST_TEXT
        and re.fullmatch(_DURATION_TEXT.strip("^$"), value)
    ):
        seconds = sum(float(n) * _UNITS[unit] for n, unit in _DURATION.findall(value))
    else:
        raise ValueError("expected a duration such as 90s, 5m, 1h30m or 250ms")
    if not 0 <= seconds <= _LONGEST.total_seconds():
        raise ValueError("expected a duration from 0s to 366d")
    return timedelta(seconds=seconds)


def format_duration(length: timedelta) -> str:
    """Write a duration the way `parse_duration` reads it: `1h30m`, `45s`, `250ms`, `0s`."""
    milliseconds = round(length.total_seconds() * 1000)
    parts: list[str] = []
    for unit, size in (("h", 3_600_000), ("m", 60_000), ("s", 1000), ("ms", 1)):
        count, milliseconds = divmod(milliseconds, size)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def _percent(value: Any) -> float:
    if isinstance(value, str) and value.endswith("%"):
        value = value[:-1].strip()
        try:
            value = float(value)
        except ValueError:
            raise ValueError("expected a percentage such as 5, 0.5 or 5%") from None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("expected a percentage such as 5, 0.5 or 5%")  # noqa: TRY004 - pydantic wants ValueError
    if not 0 <= value <= 100:  # noqa: PLR2004 - a percentage
        raise ValueError("expected a percentage from 0 to 100")
    rounded = round(value, 2)
    if abs(rounded - value) > 1e-9:  # noqa: PLR2004 - float noise
        raise ValueError("expected a percentage in steps of 0.01")
    return float(rounded)


def _version(value: str) -> str:
    if not _VERSION.fullmatch(value):
        raise ValueError(
            "expected a version such as 1.4.2 (letters, digits and . + _ -, at most 128) or a "
            "digest (sha256: and 64 hexadecimal digits in lower case)"
        )
    return value


def _some(value: timedelta) -> timedelta:
    if value <= timedelta(0):
        raise ValueError("expected a duration longer than 0s")
    return value


Duration = Annotated[
    timedelta,
    BeforeValidator(parse_duration),
    PlainSerializer(format_duration, return_type=str),
    WithJsonSchema(DURATION_SCHEMA),
]
"""A length of time that is not negative, written `90s`, `5m`, `1h30m`, `250ms`."""

SomeDuration = Annotated[
    Duration,
    AfterValidator(_some),
    WithJsonSchema({**DURATION_SCHEMA, "pattern": _SOME + _DURATION_TEXT.removeprefix("^")}),
]
"""A length of time that is not zero."""

PERCENT_SCHEMAS: list[dict[str, Any]] = [
    {"type": "number", "exclusiveMinimum": 0, "maximum": 100},
    {"type": "string", "pattern": _SOME + _PERCENT_TEXT.removeprefix("^")},
]
"""How a share of requests that is not zero is written, as JSON Schema."""

Percent = Annotated[
    float,
    BeforeValidator(_percent),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 0, "maximum": 100},
                {"type": "string", "pattern": _PERCENT_TEXT},
            ],
            "description": "A share of requests in percent, in steps of 0.01.",
        }
    ),
]
"""A share of requests in percent, 0 to 100, in steps of 0.01 (the routers count in 1/10,000)."""

SomePercent = Annotated[
    Percent,
    Field(gt=0),
    WithJsonSchema(
        {
            "anyOf": PERCENT_SCHEMAS,
            "description": "A share of requests in percent, more than 0, in steps of 0.01.",
        }
    ),
]
"""A share of requests that is not zero."""

ServiceName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$",
        description="A DNS label: lower-case letters, digits and hyphens, at most 63.",
    ),
]
Version = Annotated[
    str,
    AfterValidator(_version),
    WithJsonSchema(
        {
            "type": "string",
            "pattern": f"^({_VERSION.pattern})$",
            "description": "A version as the pipeline names it: letters, digits and . + _ -, at "
            "most 128; or the digest of an image, such as sha256: and 64 hexadecimal digits.",
        }
    ),
]
"""A version as the pipeline names it, or the digest of an image."""
ReleaseId = Annotated[
    str,
    Field(
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$",
        description="Letters, digits and . _ -, at most 128; the same id is the same release.",
    ),
]
