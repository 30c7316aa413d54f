"""Whether the description of a kind is one that Aviary takes: checked once, as it is registered."""

from __future__ import annotations

from collections.abc import Iterator
from collections.abc import Set as AbstractSet
from typing import Any, Final

from pydantic import BaseModel, TypeAdapter, ValidationError

from adapters.connections import Connection
from adapters.kinds import DeployerKind, HookKind, Kind, RouterKind
from adapters.packs import BUILT_IN
from schemas.deploy_spec import NONE, DeployTerms
from schemas.outside import is_secret
from schemas.router_spec import SEVERAL, KindName

_NAME: Final[TypeAdapter[str]] = TypeAdapter(KindName)
_BESIDE: Final = frozenset({"kind", "connection"})
"""What stands beside the options of any kind."""
_LONGEST: Final = 200


class DescriptionError(ValueError):
    """A description is refused; the text says what of it, and what is expected."""


def check_kind(kind: Kind[Any]) -> None:
    """Check a description.

    Raises:
        DescriptionError: something in it is not as it must be.
    """
    for problem in _problems(kind):
        raise DescriptionError(problem)


def _problems(kind: Kind[Any]) -> Iterator[str]:
    if not _is_name(kind.name):
        yield f"name: got {kind.name!r}, expected lower-case letters, digits, _ and -, at most 63"
    if not 0 < len(kind.text) <= _LONGEST or not kind.text.isprintable():
        yield f"text: expected one line of at most {_LONGEST} characters"
    if kind.connection is None:
        if kind.needs_connection:
            yield "needs_connection: expected a model of it in connection"
    elif not (
        _is_class(kind.connection, Connection)
        and _is_name(getattr(kind.connection, "connection_kind", None))
    ):
        expected = "expected a subclass of Connection, with a connection_kind"
        yield f"connection: got {kind.connection!r}, {expected}"
    else:
        yield from _open(kind.connection, "connection")
    if isinstance(kind, RouterKind):
        yield from _router(kind)
    if isinstance(kind, HookKind):
        yield from _options(kind.options, _BESIDE)
    if isinstance(kind, DeployerKind):
        if kind.name == NONE:
            yield f"name: expected another one than {NONE}, which is the word for no deployer"
        yield from _options(kind.options, _BESIDE | DeployTerms.model_fields.keys())


def _options(options: type[BaseModel], beside: AbstractSet[str]) -> Iterator[str]:
    """What a catalog writes: of a router or a hook its options, of a deployer its recipe."""
    if not _is_class(options, BaseModel):
        yield f"options: got {options!r}, expected a subclass of schemas.base.Model"
        return
    yield from _open(options, "options")
    for name in sorted(beside & options.model_fields.keys()):
        yield f"options.{name}: expected another name: {name} stands beside the options"
    for name in _secrets(options.model_json_schema()):
        yield f"options.{name}: expected no secret: it would stand in plans and histories"


def _router(kind: RouterKind[Any, Any]) -> Iterator[str]:
    if kind.name == SEVERAL:
        yield f"name: expected another one than {SEVERAL}, which is the word for a list of them"
    yield from _options(kind.options, _BESIDE)
    yield from _pack(kind)


def _pack(kind: RouterKind[Any, Any]) -> Iterator[str]:
    if isinstance(kind.pack, str) and kind.pack not in BUILT_IN.names:
        yield f"pack: got {kind.pack!r}, expected a Pack, or one of {', '.join(BUILT_IN.names)}"
    elif kind.pack is not None and not isinstance(kind.pack, str) and kind.name in BUILT_IN.names:
        yield f"pack: expected the name of Aviary's own pack {kind.name}"


def _is_name(value: object) -> bool:
    try:
        _NAME.validate_python(value)
    except ValidationError:
        return False
    return True


def _is_class(value: object, of: type) -> bool:
    """Of what somebody else wrote, whatever its annotation says."""
    return isinstance(value, type) and issubclass(value, of)


def _open(model: type[BaseModel], name: str) -> Iterator[str]:
    if model.model_config.get("extra") != "forbid":
        yield f'{name}: expected a model that forbids unknown fields (extra="forbid")'


def _secrets(node: Any, name: str = "") -> Iterator[str]:
    """The fields of a JSON Schema that hold secrets, by their type or by their name."""
    if isinstance(node, list):
        for one in node:
            yield from _secrets(one, name)
    if not isinstance(node, dict):
        return
    if node.get("writeOnly") or node.get("format") == "password" or is_secret(name):
        yield name or "?"
        return
    properties = node.get("properties", {})
    for field, one in properties.items():
        yield from _secrets(one, field)
    for key, one in node.items():
        if key == "$defs":
            yield from _secrets(list(one.values()), name)
        elif key not in {"properties", "default", "examples", "const", "enum"}:
            yield from _secrets(one, name)
