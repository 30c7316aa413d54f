"""Envoy's messages as bytes, made of the JSON that its files hold.

`messages.txt` lists those that Aviary's resources are made of, field by field, as Envoy's API has
them: no package of all of Envoy's API is needed, which are large, and own the name `envoy` that its
server's package owns as well. What is not listed is refused by name, never left out.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any, Final

from google.protobuf import (
    any_pb2,
    descriptor_pb2,
    descriptor_pool,
    duration_pb2,
    empty_pb2,
    json_format,
    message_factory,
    struct_pb2,
    timestamp_pb2,
    wrappers_pb2,
)
from google.protobuf.message import Message

TYPES: Final = "type.googleapis.com/"
_LIST: Final = Path(__file__).with_name("messages.txt")
_FILE: Final = "aviary/envoy_messages.proto"
_KNOWN: Final = (any_pb2, duration_pb2, empty_pb2, struct_pb2, timestamp_pb2, wrappers_pb2)
_GOOGLE: Final = "google.protobuf."
_ENUM: Final = "enum "
_Field = descriptor_pb2.FieldDescriptorProto


class UnknownFieldError(ValueError):
    """A resource has what the list of messages does not."""


def encoded(document: Mapping[str, Any]) -> tuple[str, bytes]:
    """A resource with `@type` as Envoy takes it: its type, and its bytes.

    Raises:
        UnknownFieldError: it has a type, a field or a value that is not listed.
    """
    url = document.get("@type")
    if not isinstance(url, str) or not url.startswith(TYPES):
        raise UnknownFieldError(f"@type: expected {TYPES}…, found {url!r}")
    name = url.removeprefix(TYPES)
    message = new(name)
    _fill(message, document, name)
    return url, message.SerializeToString(deterministic=True)


def new(name: str) -> Any:
    """An empty message, such as `envoy.service.discovery.v3.DeltaDiscoveryResponse`.

    Raises:
        UnknownFieldError: there is none of this name in the list.
    """
    try:
        return _class(name)()
    except KeyError:
        raise UnknownFieldError(f"{name}: this message is not known here") from None


@cache
def _class(name: str) -> type[Message]:
    return message_factory.GetMessageClass(_pool().FindMessageTypeByName(_flat(name)))


def _fill(message: Any, document: Mapping[str, Any], where: str) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    for key, value in document.items():
        if key == "@type":
            continue
        here = f"{where}.{key}"
        if key not in fields:
            raise UnknownFieldError(f"{here}: this field is not known here")
        _set(message, fields[key], value, here)


def _set(message: Any, field: Any, value: Any, here: str) -> None:
    try:
        if field.message_type is None:
            _set_plain(message, field, value)
        elif field.message_type.GetOptions().map_entry:
            target = getattr(message, field.name)
            for key, one in value.items():
                json_format.ParseDict(one, target[key])
        elif field.is_repeated:
            for one in value:
                _set_message(getattr(message, field.name).add(), one, here)
        else:
            part = getattr(message, field.name)
            part.SetInParent()
            _set_message(part, value, here)
    except UnknownFieldError:
        raise
    except (TypeError, ValueError, AttributeError, json_format.ParseError) as error:
        raise UnknownFieldError(f"{here}: {error}") from error


def _set_plain(message: Any, field: Any, value: Any) -> None:
    values = value if field.is_repeated else [value]
    if field.enum_type is not None:
        values = [field.enum_type.values_by_name[one].number for one in _listed(field, values)]
    if field.is_repeated:
        getattr(message, field.name).extend(values)
    else:
        setattr(message, field.name, values[0])


def _listed(field: Any, values: list[str]) -> list[str]:
    for one in values:
        if one not in field.enum_type.values_by_name:
            raise ValueError(f"expected one of {', '.join(field.enum_type.values_by_name)}")
    return values


def _set_message(part: Any, value: Any, here: str) -> None:
    name = part.DESCRIPTOR.full_name
    if name == any_pb2.Any.DESCRIPTOR.full_name:
        part.type_url, part.value = encoded(value)
    elif name.startswith(_GOOGLE):
        json_format.ParseDict(value, part)
    else:
        _fill(part, value, here)


@cache
def _pool() -> Any:
    pool = descriptor_pool.DescriptorPool()
    for module in _KNOWN:
        pool.AddSerializedFile(module.DESCRIPTOR.serialized_pb)
    pool.Add(_file(_LIST.read_text()))
    return pool


def _file(text: str) -> descriptor_pb2.FileDescriptorProto:
    file = descriptor_pb2.FileDescriptorProto(name=_FILE, syntax="proto3")
    file.dependency.extend(module.DESCRIPTOR.name for module in _KNOWN)
    message = file.message_type.add(name="aviary_none")
    for line in text.splitlines():
        if line.startswith(_ENUM):
            _add_enum(file, line)
        elif line.startswith(" "):
            number, name, kind = line.strip().split(" ", 2)
            _add_field(message, int(number), name, kind)
        elif line:
            message = file.message_type.add(name=_flat(line))
    return file


def _add_enum(file: descriptor_pb2.FileDescriptorProto, line: str) -> None:
    # In a message of its own: values of two enums may have one name.
    _, name, *values = line.split(" ")
    enum = file.message_type.add(name=_flat(name)).enum_type.add(name="T")
    for value in values:
        label, _, number = value.partition("=")
        enum.value.add(name=label, number=int(number))


def _add_field(message: descriptor_pb2.DescriptorProto, number: int, name: str, kind: str) -> None:
    field = message.field.add(name=name, number=number, label=_Field.LABEL_OPTIONAL)
    if kind.startswith("{"):
        key, value = kind.strip("{}").split(" ")
        entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
        entry.options.map_entry = True
        for at, (part, of) in enumerate((("key", key), ("value", value)), 1):
            _describe(entry.field.add(name=part, number=at, label=_Field.LABEL_OPTIONAL), of)
        field.label = _Field.LABEL_REPEATED
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{message.name}.{entry.name}"
        return
    if kind.startswith("*"):
        field.label = _Field.LABEL_REPEATED
    _describe(field, kind.removeprefix("*"))


def _describe(field: descriptor_pb2.FieldDescriptorProto, kind: str) -> None:
    if "." not in kind:
        field.type = getattr(_Field, f"TYPE_{kind.upper()}")
    elif kind.startswith("aviary.enums."):
        field.type, field.type_name = _Field.TYPE_ENUM, f".{_flat(kind)}.T"
    elif kind.startswith(_GOOGLE):
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{kind}"
    else:
        field.type, field.type_name = _Field.TYPE_MESSAGE, f".{_flat(kind)}"


def _flat(name: str) -> str:
    return name.replace(".", "_")
