"""Reads a catalog from a file and tells everything that is wrong with it at once.

Each service and each strategy is read by itself, once however often an alias repeats it, so that a
document full of faults costs no more than one of them at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from schemas.audience_spec import EVERYBODY
from schemas.base import Percent
from schemas.catalog import Catalog, Cycles, ServiceSpec
from schemas.catalog_check import (
    MISSING,
    MOST_FINDINGS,
    UNREAD,
    Finding,
    Outline,
    ServiceOutline,
    check_outline,
)
from schemas.catalog_fit import check_fit
from schemas.document import Document, read_yaml
from schemas.files import UnreadableError, decoded, read_bounded
from schemas.problems import Problem, document_path, explain, show_path, show_value
from schemas.router_spec import KINDS, RouterKinds
from schemas.strategy import BUILT_IN, STANDARD, Strategy

MOST_SHOWN: Final = 100
"""Problems of one file that are told one by one; the others are a number."""
_PERCENT: TypeAdapter[float] = TypeAdapter(Percent)
_AGREEMENT = "aviary_catalog"

Check = Callable[[Catalog], Iterable[Finding]]
"""Looks at a catalog that is valid by itself for what it needs beyond."""


class CatalogError(ValueError):
    """A catalog can't be used: its problems, each once, one line each."""

    def __init__(self, problems: tuple[Problem, ...], more: int = 0) -> None:
        """Keep the problems apart, so that they can be shown in other ways.

        Args:
            problems: in the order of the document.
            more: how many there are beside them, not put into words.
        """
        super().__init__()
        self.problems = problems
        self.more = more + len(problems[MOST_SHOWN:])

    @property
    def shown(self) -> tuple[Problem, ...]:
        """Those that people are told one by one; `more` is the number of the others."""
        return self.problems[:MOST_SHOWN]

    def __str__(self) -> str:
        """One line for each that is shown, and one for the others."""
        lines = [str(problem) for problem in self.shown]
        if self.more:
            lines.append(f"and {self.more:,} more {'problem' if self.more == 1 else 'problems'}")
        return "\n".join(lines)


def load_catalog(
    path: Path, checks: Iterable[Check] = (), kinds: RouterKinds | None = None
) -> Catalog:
    """Read and check a catalog file (see `parse_catalog`).

    Raises:
        CatalogError: the file can't be read, is no YAML, or is no valid catalog.
    """
    try:
        text = decoded(read_bounded(path))
    except UnreadableError as error:
        problem = Problem(str(path), None, "", show_value(str(path)), str(error))
        raise CatalogError((problem,)) from None
    return parse_catalog(text, str(path), checks, kinds)


def parse_catalog(
    text: str,
    file: str = "catalog",
    checks: Iterable[Check] = (),
    kinds: RouterKinds | None = None,
) -> Catalog:
    """Read and check a catalog from its text.

    Args:
        text: the YAML (or JSON) document.
        file: what to call it in errors.
        checks: what a catalog that is valid by itself must hold to as well.
        kinds: the kinds of routers that there are; without them, options are only bounded.

    Raises:
        CatalogError: the text is no YAML, or no valid catalog.
    """
    document = read_yaml(text)
    found = _Found(file, document, kinds)
    for complaint in document.complaints:
        found.add(Finding(complaint.path, complaint.value, complaint.expected), complaint.line)
    if document.place is None and document.complaints:
        raise found.error()
    catalog = _read(document, found)
    if catalog is not None and not found.any:
        for check in (check_fit, *checks):
            found.take_checked(check(catalog))
    if found.any or catalog is None:
        raise found.error()
    return catalog


@dataclass
class _Found:
    """The problems of one document: some are kept, all are counted."""

    file: str
    document: Document
    kinds: RouterKinds | None = None
    problems: list[Problem] = field(default_factory=list)
    more: int = 0
    wrong: bool = False

    def __post_init__(self) -> None:
        self.more += self.document.more

    @property
    def any(self) -> bool:
        return bool(self.wrong or self.problems or self.more)

    @property
    def context(self) -> dict[str, Any] | None:
        return None if self.kinds is None else {KINDS: self.kinds}

    @property
    def schema(self) -> dict[str, Any]:
        return _schema() if self.kinds is None else self.kinds.schema()

    @property
    def room(self) -> int:
        return max(MOST_FINDINGS - len(self.problems), 0)

    def take(self, findings: Iterable[Finding]) -> None:
        for found in findings:
            if not self.room:  # where it stands would cost as much as what is told
                self.more += 1
                continue
            path = document_path(found.path, self.document.data, missing=found.value is MISSING)
            self.add(Finding(path, found.value, found.expected), self.document.line(path))

    def take_checked(self, findings: Iterable[Finding]) -> None:
        """What a catalog lacks may stand at a field that it leaves out."""
        for found in findings:
            self.add(found, self.document.line(found.path))

    def add(self, found: Finding, line: int | None) -> None:
        if not self.room:
            self.more += 1
            return
        value: str | None
        if found.value is UNREAD:
            value = None
        else:
            value = "" if found.value is MISSING else show_value(found.value)
        problem = Problem(self.file, line, show_path(found.path), value, found.expected)
        self.problems.append(problem)

    def take_errors(self, error: ValidationError, *prefix: str) -> None:
        """Pydantic's errors below `prefix`; where there are enough, they are only counted."""
        self.wrong = True
        if not self.room:
            self.more += error.error_count()
            return
        every = [one for one in error.errors(include_url=False) if tells(one)]
        for details in every[: self.room]:
            details["loc"] = (*prefix, *details["loc"])
            found = explain(details, self.document.data, self.schema)
            self.add(found, self.document.line(found.path))
        self.more += len(every[self.room :]) if not self.room else 0

    def error(self) -> CatalogError:
        every = sorted(dict.fromkeys(self.problems), key=lambda problem: problem.line or 0)
        return CatalogError(tuple(every), self.more)


def _read(document: Document, found: _Found) -> Catalog | None:
    """The catalog; None where there are problems, which are in `found` then.

    Pydantic does not come to the disagreements of the sections where there are other errors, so
    they are always looked for in the document itself.
    """
    data = document.data
    if isinstance(data, dict):
        data = {
            **data,
            **_section(data, "strategies", Strategy, STANDARD, found),
            **_section(data, "services", ServiceSpec, ServiceSpec(), found),
        }
    catalog = None
    try:
        catalog = Catalog.model_validate(data, context=found.context)
    except ValidationError as error:
        found.take_errors(error)
        found.take(check_outline(_outline(document.data)))
    else:
        if found.any:
            found.take(check_outline(_outline(document.data)))
    return catalog


def _section(
    data: dict[str, Any],
    name: str,
    model: type[Strategy | ServiceSpec],
    filler: Strategy | ServiceSpec,
    found: _Found,
) -> dict[str, Any]:
    """A section with its entries read; `filler` stands for one that is wrong."""
    section = data.get(name)
    if not isinstance(section, dict):
        return {}
    known: dict[int, Any] = {}
    read = {}
    for key, value in section.items():
        repeated = isinstance(value, dict | list)
        if not (repeated and id(value) in known):
            try:
                known[id(value)] = model.model_validate(value, context=found.context)
            except ValidationError as error:
                found.take_errors(error, name, key)
                known[id(value)] = filler
        read[key] = known[id(value)]
    return {name: read}


def tells(details: ErrorDetails) -> bool:
    """Whether one of pydantic's errors is told.

    Not disagreements, nor what follows from an error in a list.
    """
    if details["type"] == _AGREEMENT:
        return False
    if details["type"] != "too_short":
        return True
    return len(details["input"]) < int(details["ctx"]["min_length"])


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
        step_audiences={name: _whom(spec) for name, spec in strategies.items()},
        default_strategy=_text(defaults.get("strategy")),
        refuses_cycles=document.get("cycles") == Cycles.REFUSE,
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


def _whom(strategy: Any) -> list[str | None]:
    """The audience of each step, None for everybody."""
    common = _text(_mapping(strategy).get("audience"))
    named = (
        _text(_mapping(step).get("audience")) or common
        for step in _list(_mapping(strategy).get("steps"))
    )
    return [None if name == EVERYBODY else name for name in named]


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
