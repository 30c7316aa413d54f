"""Reads a catalog from a file and tells everything that is wrong with it at once."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from schemas.base import Percent
from schemas.catalog import BUILT_IN, Catalog
from schemas.catalog_check import MISSING, Finding, Outline, ServiceOutline, check_outline
from schemas.document import Document, read_yaml
from schemas.problems import Problem, document_path, explain, show_path, show_value

_PERCENT: TypeAdapter[float] = TypeAdapter(Percent)
_AGREEMENT = "aviary_catalog"


class CatalogError(ValueError):
    """A catalog can't be used: every problem, each once, one line each."""

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        """Keep the problems apart, so that they can be shown in other ways."""
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load_catalog(path: Path) -> Catalog:
    """Read and check a catalog file.

    Raises:
        CatalogError: the file can't be read, is no YAML, or is no valid catalog.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        expected = f"a readable file ({error.strerror or error})"
        raise CatalogError(
            (Problem(str(path), None, "", show_value(str(path)), expected),)
        ) from None
    except UnicodeDecodeError as error:
        expected = f"UTF-8 text (byte {error.start}: {error.reason})"
        raise CatalogError(
            (Problem(str(path), None, "", show_value(error.object[error.start]), expected),)
        ) from None
    return parse_catalog(text, str(path))


def parse_catalog(text: str, file: str = "catalog") -> Catalog:
    """Read and check a catalog from its text.

    Args:
        text: the YAML (or JSON) document.
        file: what to call it in errors.

    Raises:
        CatalogError: the text is no YAML, or no valid catalog.
    """
    document = read_yaml(text)
    problems = [
        _problem(file, Finding(found.path, found.value, found.expected), found.line)
        for found in document.complaints
    ]
    if document.place is None and problems:
        raise CatalogError(tuple(problems))
    catalog = None
    try:
        catalog = Catalog.model_validate(document.data)
    except ValidationError as error:
        problems += _invalid(error, document, file)
    if problems or catalog is None:
        problems.sort(key=lambda problem: problem.line or 0)
        raise CatalogError(tuple(dict.fromkeys(problems)))
    return catalog


def _invalid(error: ValidationError, document: Document, file: str) -> list[Problem]:
    """Put pydantic's errors and the disagreements of the sections together.

    Pydantic does not come to the latter where there are any of the former, so they are always
    looked for in the document itself.
    """
    findings = [
        explain(details, document.data, _schema())
        for details in error.errors(include_url=False)
        if details["type"] != _AGREEMENT and not _follows(details)
    ]
    for found in check_outline(_outline(document.data)):
        path = document_path(found.path, document.data, missing=found.value is MISSING)
        findings.append(Finding(path, found.value, found.expected))
    return [_problem(file, found, document.line(found.path)) for found in findings]


def _follows(details: ErrorDetails) -> bool:
    """Whether a list is only too short because of an item that has its own error."""
    if details["type"] != "too_short":
        return False
    return len(details["input"]) >= int(details["ctx"]["min_length"])


def _problem(file: str, found: Finding, line: int | None) -> Problem:
    value = "" if found.value is MISSING else show_value(found.value)
    return Problem(file, line, show_path(found.path), value, found.expected)


@cache
def _schema() -> dict[str, Any]:
    return Catalog.model_json_schema()


def _outline(data: Any) -> Outline:
    """What can be read of a document that is not valid."""
    document = _mapping(data)
    defaults = _mapping(document.get("defaults"))
    strategies = _mapping(document.get("strategies"))
    return Outline(
        services={
            name: _service(_mapping(spec))
            for name, spec in _mapping(document.get("services")).items()
        },
        strategies={*BUILT_IN, *strategies},
        weights={name: _weights(spec) for name, spec in strategies.items()},
        default_strategy=_text(defaults.get("strategy")),
        has_router=defaults.get("router") is not None,
        told_of=[_names(_mapping(rule).get("services")) for rule in _list(document.get("notices"))],
    )


def _service(spec: dict[str, Any]) -> ServiceOutline:
    return ServiceOutline(
        depends_on=_names(spec.get("depends_on")),
        strategy=_text(spec.get("strategy")),
        has_router=spec.get("router") is not None,
    )


def _weights(strategy: Any) -> list[float | None]:
    return [_weight(step) for step in _list(_mapping(strategy).get("steps"))]


def _weight(step: Any) -> float | None:
    try:
        return _PERCENT.validate_python(step.get("weight") if isinstance(step, dict) else step)
    except ValidationError:
        return None


def _names(value: Any) -> tuple[tuple[int, str], ...]:
    return tuple((at, name) for at, name in enumerate(_list(value)) if isinstance(name, str))


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
