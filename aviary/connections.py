"""Connections: addresses and credentials of platforms, by name, from a file of the settings.

    prod-eu:
      kind: envoy
      admin: [http://10.0.0.7:9901]
    metrics:
      kind: prometheus
      url: https://prometheus.example
      token_file: /run/secrets/prometheus

The file may hold secrets: of what is wrong with it, no value is ever told but names and kinds.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from adapters.connections import SECRET_REFUSED, Connection
from aviary.kinds import registry
from aviary.settings import Settings, SettingsError
from schemas.catalog_check import listed, nearest
from schemas.catalog_file import tells
from schemas.document import Document, read_yaml
from schemas.files import UnreadableError, decoded, read_regular
from schemas.outside import TEXT_MOST, cut, visible
from schemas.problems import explain, show_path
from schemas.router_spec import ConnectionName

VARIABLE: Final = "AVIARY_CONNECTIONS_FILE"
_MOST_BYTES: Final = 1_000_000
_MOST: Final = 1000
_MOST_TOLD: Final = 20
_PATH_MOST: Final = 200
_FIELD: Final = re.compile(r"[a-z_]{1,40}")
"""What the name of a field looks like, and few secrets do."""
_HIDDEN: Final = "(not shown)"
_UNSHOWN: Final = "readable YAML, each key as text (not shown: it may be a secret)"
_NAME: Final[TypeAdapter[str]] = TypeAdapter(ConnectionName)


def read_connections(settings: Settings) -> Mapping[str, Connection]:
    """Read the connections of the settings; none where no file is set.

    Raises:
        SettingsError: the file can't be read, or is wrong; one line for each fault, without any
            value that may be a secret.
    """
    path = settings.connections_file
    return {} if path is None else read_written(path, VARIABLE).known


@dataclass(frozen=True)
class Written:
    """A file of connections.

    Attributes:
        known: its connections, by name.
        data: as it has them; it may hold secrets.
    """

    known: Mapping[str, Connection]
    data: Mapping[str, Any]


def read_written(path: Path, told: str) -> Written:
    """Read a file of connections.

    Args:
        path: the file.
        told: by what it was told of, for errors.

    Raises:
        SettingsError: as `read_connections`.
    """
    try:
        document = read_yaml(decoded(read_regular(path, _MOST_BYTES)))
    except UnreadableError as error:
        raise SettingsError(f"{told}: '{path}': expected {error}") from None
    found: dict[str, Connection] = {}
    faults = list(_read(document, found))
    if faults:
        lines = [f"{told}: {_at(path, line)}: {text}" for line, text in faults[:_MOST_TOLD]]
        if more := len(faults) - _MOST_TOLD:
            lines += [f"{told}: and {more:,} more"] if more > 0 else []
        raise SettingsError("\n".join(lines))
    return Written(found, dict(document.data))


def _at(path: Path, line: int | None) -> str:
    return str(path) if line is None else f"{path}:{line}"


_Fault = tuple[int | None, str]


def _read(document: Document, found: dict[str, Connection]) -> Iterator[_Fault]:
    """Fill in `found`; give what is wrong."""
    for complaint in document.complaints:
        text = f"expected {_UNSHOWN if complaint.quotes else complaint.expected}"
        place = _place(complaint.path)
        yield complaint.line, f"{place}: {text}" if place else text
    if document.complaints:
        return
    data = document.data
    if not isinstance(data, dict) or not 0 < len(data) <= _MOST:
        yield 1, f"expected a mapping of 1 to {_MOST:,} connections by name"
        return
    models, unknown = registry().connections(), False
    for name, written in data.items():
        if problem := _problem(name, written, models):
            unknown = unknown or isinstance(written, dict)
            yield document.line((name,)), problem
            continue
        fields = {field: value for field, value in written.items() if field != "kind"}
        model = models[written["kind"]]
        try:
            found[name] = model.model_validate(fields)
        except ValidationError as error:
            for details in filter(tells, error.errors(include_url=False)):
                path = (name, *_location(details))
                text = f"expected {_text(details, fields, model)}"
                yield document.line(path), f"{_place(path, shows_last=_shows(details))}: {text}"
    for broken in registry().broken() if unknown else ():
        yield None, f"installed, but can't be used: {broken.name}: {cut(broken.why, TEXT_MOST)}"


def _problem(name: str, written: Any, models: Mapping[str, type[Connection]]) -> str:
    """What is wrong with the name and the kind of a connection; empty if nothing is."""
    try:
        _NAME.validate_python(name)
    except ValidationError:
        text = "lower-case letters, digits, _ and -, at most 63"
        return f"{visible(name)[:100]}: expected a name of {text}"
    if not isinstance(written, dict):
        return f"{name}: expected a mapping of fields, its kind one of {listed(models)}"
    kind = written.get("kind")
    if isinstance(kind, str) and kind in models:
        return ""
    hint = nearest(kind, models) if isinstance(kind, str) else ""
    return f"{name}.kind: expected one of {listed(models)}{hint}"


def _location(details: ErrorDetails) -> tuple[int | str, ...]:
    """Where a fault is; of a secret it is told of the whole connection."""
    if details["type"] == SECRET_REFUSED:
        return (*details["loc"], str(details["ctx"]["field"]))
    return details["loc"]


def _shows(details: ErrorDetails) -> bool:
    """Whether a field may be named: one that nobody knows and that has no value may be a secret."""
    unknown = details["type"] == "extra_forbidden"
    return not unknown or details["input"] is not None


def _place(path: tuple[int | str, ...], *, shows_last: bool = True) -> str:
    """A path for a person, without what may be a secret that stands where a name should."""
    parts: list[int | str] = [
        part if not at or isinstance(part, int) or _FIELD.fullmatch(part) else _HIDDEN
        for at, part in enumerate(path)
    ]
    if not shows_last:
        parts[-1] = _HIDDEN
    return cut(visible(show_path(tuple(parts))), _PATH_MOST)


def _text(details: ErrorDetails, fields: Any, model: type[Connection]) -> str:
    """What was expected, and nothing of what was there."""
    if details["type"] == "extra_forbidden":
        known = sorted({*model.model_fields, *(f"{one}_file" for one in model.secret_fields())})
        return f"one of the fields {', '.join(known)}{nearest(str(details['loc'][-1]), known)}"
    unseen: ErrorDetails = {**details, "input": None}
    return explain(unseen, fields, model.model_json_schema()).expected
