"""Says what is wrong with a document, one line for each problem.

Turns pydantic's errors into the words of the document: its path, the value, what was expected, and
the nearest known name. What a field expects is taken from its JSON Schema.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pydantic_core import ErrorDetails

from schemas.catalog_check import MISSING, Finding, Path, nearest
from schemas.document import yaml_word
from schemas.outside import TEXT_MOST, cut, hide_user, is_secret, visible

_NAMES = 12
_PATH_MOST = 500
_FILE_MOST = 4096
_TYPES = {
    "dict_type": "a mapping of fields",
    "model_type": "a mapping of fields",
    "model_attributes_type": "a mapping of fields",
    "tuple_type": "a list",
    "list_type": "a list",
    "recursion_loop": "less nesting",
    "union_tag_not_found": "a mapping with the field kind",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a document."""

    file: str
    line: int | None
    path: str
    value: str | None
    """As it stands there; empty where something is missing, None where it could not be read."""
    expected: str

    def __post_init__(self) -> None:
        """What people read is bounded, and does nothing to their terminal."""
        most = {"file": _FILE_MOST, "path": _PATH_MOST, "value": _PATH_MOST, "expected": TEXT_MOST}
        for name, width in most.items():
            if (text := getattr(self, name)) is not None:
                object.__setattr__(self, name, cut(visible(text), width))

    @property
    def message(self) -> str:
        """What is wrong, without the place."""
        if self.value is None:
            return f"expected {self.expected}"
        return f"{f'got {self.value}' if self.value else 'missing'}, expected {self.expected}"

    def __str__(self) -> str:
        place = self.file if self.line is None else f"{self.file}:{self.line}"
        return ": ".join(part for part in (place, self.path, self.message) if part)

    def to_json(self) -> dict[str, Any]:
        """As plain data for `--format json`."""
        return {**asdict(self), "message": self.message}


def show_path(path: Path) -> str:
    """Write a path the way people do: `services.checkout.depends_on[1]`."""
    parts = [f"[{part}]" if isinstance(part, int) else f".{part}" for part in path]
    return "".join(parts).removeprefix(".")


class _Unshown:
    """A value that stands where none is known, and may be anything: a secret, too."""

    def __repr__(self) -> str:
        return "…"


def _keys_alone(value: Any) -> Any:
    """What stands in place of something else: of mappings their keys alone."""
    if isinstance(value, dict):
        return dict.fromkeys(value, _UNSHOWN)
    return [_keys_alone(one) for one in value] if isinstance(value, list) else value


_UNSHOWN = _Unshown()


class _Short(reprlib.Repr):
    """Shortens values, and shows none that by its name is a secret: it stands where it must not."""

    def repr_tuple(self, x: tuple[Any, ...], level: int) -> str:
        return super().repr_list(list(x), level)

    def repr_dict(self, x: dict[Any, Any], level: int) -> str:
        shown = {key: "(hidden)" if is_secret(str(key)) else value for key, value in x.items()}
        return super().repr_dict(shown, level)


def show_value(value: Any) -> str:
    """A value for a message, shortened where it is long; in a document's words, not in Python's."""
    if value is None or isinstance(value, bool):
        return yaml_word(value)
    if isinstance(value, float):
        return f"{value:g}"
    short = _Short()
    short.maxstring = short.maxother = 80
    short.maxlevel = 2
    return hide_user(short.repr(value))


def explain(error: ErrorDetails, data: Any, schema: Mapping[str, Any]) -> Finding:
    """Turn one of pydantic's errors about `data` into a finding.

    Args:
        error: one of `ValidationError.errors()`.
        data: the document.
        schema: JSON Schema of the document, asked for known names and descriptions.
    """
    kind, context, value = error["type"], error.get("ctx", {}), error["input"]
    if kind.endswith("_type"):
        value = _keys_alone(value)
    path = document_path(error["loc"], data, missing=kind == "missing" or value is MISSING)
    if kind == "missing":
        meaning = _description(schema, path, data)
        return Finding(path, MISSING, f"a value ({meaning})" if meaning else "a value")
    if kind == "extra_forbidden":
        return Finding(path, path[-1], _known_fields(schema, path, data))
    if kind == "union_tag_invalid":
        tag = str(context["tag"])
        known = [name.strip(" '") for name in str(context["expected_tags"]).split(",")]
        expected = f"one of {', '.join(known)}{nearest(tag, known)}"
        return Finding((*path, "kind"), tag, expected)
    if error["loc"][-1:] == ("[key]",):
        return Finding(path, path[-1], str(_key_description(schema, path, data) or error["msg"]))
    if "expected" in context:
        return Finding(path, value, str(context["expected"]))
    return Finding(path, value, _expectation(error, path, data, schema))


def _expectation(error: ErrorDetails, path: Path, data: Any, schema: Mapping[str, Any]) -> str:
    kind, value, message = error["type"], error["input"], error["msg"]
    if kind in _TYPES:
        return _TYPES[kind]
    if kind == "too_short":
        return f"at least {error['ctx']['min_length']} item"
    if kind == "string_type" and isinstance(value, bool | int | float):
        return f"text: YAML reads this as {yaml_word(value)}, put it in quotes"
    if kind == "string_pattern_mismatch":
        return _description(schema, path, data) or f"text like {error['ctx']['pattern']}"
    for prefix in ("Value error, ", "expected ", "Input should be "):
        message = message.removeprefix(prefix)
    return message


def document_path(loc: tuple[int | str, ...], data: Any, *, missing: bool = False) -> Path:
    """The part of a location that is in the document: no union tags, no spelt-out short forms.

    Args:
        loc: where pydantic or a check sees it.
        data: the document.
        missing: the last part is what is not there, and stays.
    """
    path: list[str | int] = []
    for position, part in enumerate(loc):
        inside = (isinstance(data, dict) and part in data) or (
            isinstance(data, list) and isinstance(part, int) and part < len(data)
        )
        if inside:
            path.append(part)
            data = data[part]
        elif missing and position == len(loc) - 1:
            path.append(part)
    return tuple(path)


def _known_fields(schema: Mapping[str, Any], path: Path, data: Any) -> str:
    known = sorted(
        {name for node in _schemas(schema, path[:-1], data) for name in node.get("properties", {})}
    )
    if not known:
        return "no such field"
    shown = ", ".join(known[:_NAMES]) + (", …" if len(known) > _NAMES else "")
    return f"one of the fields {shown}{nearest(str(path[-1]), known)}"


def _description(schema: Mapping[str, Any], path: Path, data: Any) -> str:
    for node in _schemas(schema, path, data):
        if "description" in node:
            return _phrase(str(node["description"]))
    return ""


def _phrase(description: str) -> str:
    """A description's first line as part of a sentence."""
    text = description.split("\n", 1)[0].rstrip(".")
    return text[0].lower() + text[1:] if text[1:2].islower() or text[1:2] == " " else text


def _key_description(schema: Mapping[str, Any], path: Path, data: Any) -> str:
    for node in _schemas(schema, path[:-1], data):
        if "propertyNames" in node:
            return _phrase(str(node["propertyNames"].get("description", "")))
        if "patternProperties" in node:
            return f"a name like {next(iter(node['patternProperties']))}"
    return ""


def _schemas(schema: Mapping[str, Any], path: Path, data: Any) -> list[Mapping[str, Any]]:
    """The schemas that may hold for what is at `path`."""
    nodes = list(_choices(schema, schema, data))
    for part in path:
        data = data[part] if _has(data, part) else None
        nodes = [
            choice
            for node in nodes
            for below in _below(node, part)
            for choice in _choices(schema, below, data)
        ]
    return nodes


def _has(data: Any, part: str | int) -> bool:
    if isinstance(data, dict):
        return part in data
    return isinstance(data, list) and isinstance(part, int) and part < len(data)


def _below(node: Mapping[str, Any], part: str | int) -> Iterator[Mapping[str, Any]]:
    if isinstance(part, int):
        candidates = [node.get("items")]
    elif part in node.get("properties", {}):
        candidates = [node["properties"][part]]
    else:
        candidates = [node.get("additionalProperties"), *node.get("patternProperties", {}).values()]
    for candidate in candidates:
        if isinstance(candidate, dict):
            yield candidate


def _choices(
    root: Mapping[str, Any], node: Mapping[str, Any], data: Any
) -> Iterator[Mapping[str, Any]]:
    """Follow references and alternatives; of alternatives by kind, only the one the data names."""
    yield node
    if "$ref" in node:
        yield from _choices(root, root["$defs"][node["$ref"].rsplit("/", 1)[1]], data)
    mapping = node.get("discriminator", {}).get("mapping", {})
    kind = data.get("kind") if isinstance(data, dict) else None
    if isinstance(kind, str) and kind in mapping:
        yield from _choices(root, {"$ref": mapping[kind]}, data)
        return
    for alternative in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from _choices(root, alternative, data)
