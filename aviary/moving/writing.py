"""Writes the catalog: what the drafts say, with a comment for each thing that is not as it was."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from textwrap import wrap
from typing import Any, Final

import yaml

from aviary.moving.drafts import ServiceDraft
from aviary.moving.rows import Row
from schemas.base import format_duration
from schemas.outside import one_line, visible

_WIDTH: Final = 100
_DEEP: Final = 2
_HEAD: Final = (
    "Made by `aviary import`. Each comment says what is not as it was, and where that stands; "
    "what is "
    "refused or has no counterpart is not in here. `depends_on` is nowhere in the manifests: say "
    "which "
    "service needs which."
)
PLACEHOLDER: Final = "memory"
"""The kind of router that stands where none is known: it moves no traffic."""
_NO_TRAFFIC: Final = (
    "TODO: this router moves no traffic. Say which one carries the services (`aviary routers` "
    "lists the "
    "kinds), here or by --router, before anything is released."
)


@dataclass(frozen=True)
class RouterChoice:
    """The router of a service, or why the one that would stand for its manifest is not there."""

    spec: Any = None
    wanted: Any = None
    """In a comment, to be put in place of the default."""
    why: str = ""


@dataclass
class Draft:
    """All that a catalog is written from."""

    services: Sequence[ServiceDraft]
    routers: Mapping[str, RouterChoice]
    default_router: Any
    rows: Sequence[Row] = ()


class _Dumper(yaml.SafeDumper):
    """Texts of several lines are blocks, and nothing is an alias."""

    def ignore_aliases(self, _data: Any) -> bool:
        """Write everything out."""
        return True


def _text(dumper: yaml.SafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def dump(value: Any) -> list[str]:
    """Plain data as lines of YAML; no character of it acts on a terminal."""
    for unicode in (True, False):
        text = yaml.dump(
            value, Dumper=_Dumper, sort_keys=False, allow_unicode=unicode, width=10_000
        )
        text = text.removesuffix("...\n")
        if visible(text, lines=True) == text:
            break
    return text.rstrip("\n").split("\n")


def comment(text: str, indent: int = 0) -> list[str]:
    """A text as lines of comment."""
    start = " " * indent + "# "
    lines = wrap(one_line(text), _WIDTH - len(start), break_on_hyphens=False)
    return [f"{start}{line}".rstrip() for line in lines]


def write(draft: Draft) -> str:
    """The catalog as text."""
    lines = comment(_HEAD)
    for row in draft.rows:
        if not row.service and not row.minor:
            lines += _noted(row)
    lines += ["version: 1", *_defaults(draft)]
    names = _strategies(draft)
    lines += ["strategies:", *_strategy_lines(draft, names), "services:"]
    by_service: dict[str, list[Row]] = {}
    for row in draft.rows:
        by_service.setdefault(row.service, []).append(row)
    for service in draft.services:
        own = by_service.get(service.name, [])
        lines += _service(service, names[service.name], draft.routers, own)
    lines += _notices(draft.services)
    return "\n".join(lines) + "\n"


def _defaults(draft: Draft) -> list[str]:
    """The router of the services that have none of their own, where there are such."""
    own = (draft.routers.get(service.name) for service in draft.services)
    if draft.default_router is None and all(one is not None and one.spec for one in own):
        return []
    told = comment(_NO_TRAFFIC, _DEEP) if draft.default_router is None else []
    router = draft.default_router or {"kind": PLACEHOLDER}
    return ["defaults:", *told, *_indented(dump({"router": router}), _DEEP)]


def _indented(lines: Iterable[str], by: int) -> list[str]:
    return [f"{' ' * by}{line}" if line else "" for line in lines]


def _noted(row: Row, indent: int = 0) -> list[str]:
    return comment(f"[{row.became.value}] {row.where}: {row.text}", indent)


def _strategies(draft: Draft) -> dict[str, str]:
    """The name of each service's strategy: that of the first service with the same steps."""
    known: dict[str, str] = {}
    return {
        service.name: known.setdefault("\n".join(_steps(service)), service.name)
        for service in draft.services
    }


def _steps(service: ServiceDraft) -> list[str]:
    return dump({"steps": [step.data() for step in service.steps]})


def _strategy_lines(draft: Draft, names: Mapping[str, str]) -> Iterator[str]:
    for service in draft.services:
        if names[service.name] == service.name:
            yield from comment(f"{service.what}, {_where(service)}", _DEEP)
            yield f"{' ' * _DEEP}{_key(service.name)}:"
            yield from _indented(_steps(service), 2 * _DEEP)


def _key(name: str) -> str:
    """A name as a key: one that YAML would read as a number is in quotes."""
    return dump({name: 0})[0].removesuffix(": 0")


def _where(service: ServiceDraft) -> str:
    place = service.place
    return place.file if place.line is None else f"{place.file}:{place.line}"


def _service(
    service: ServiceDraft,
    strategy: str,
    routers: Mapping[str, RouterChoice],
    rows: Iterable[Row],
) -> Iterator[str]:
    yield from comment(f"{service.what}, {_where(service)}", _DEEP)
    for row in rows:
        if not row.minor:
            yield from _noted(row, _DEEP)
    yield f"{' ' * _DEEP}{_key(service.name)}:"
    deep = 2 * _DEEP
    choice = routers.get(service.name, RouterChoice())
    if choice.why:
        yield from comment(choice.why, deep)
    if choice.wanted is not None:
        for line in dump({"router": choice.wanted}):
            yield f"{' ' * deep}# {line}"
    found: dict[str, Any] = {}
    if choice.spec is not None:
        found["router"] = choice.spec
    found["strategy"] = strategy
    judge: dict[str, Any] = {}
    if service.pack is not None:
        judge["pack"] = service.pack
    if service.interval is not None:
        judge["interval"] = format_duration(service.interval)
    if judge:
        found["judge"] = judge
    found["metrics"] = [metric.spec for metric in service.metrics]
    yield from _indented(dump(found), deep)
    yield from _hooks(service, deep)


def _hooks(service: ServiceDraft, indent: int) -> Iterator[str]:
    if not service.hooks:
        return
    yield from comment(
        "Once a receiver takes Aviary's events, and AVIARY_CONNECTIONS_FILE has the connection:",
        indent,
    )
    for line in dump({"hooks": [hook.spec for hook in service.hooks]}):
        yield f"{' ' * indent}# {line}"


def _notices(services: Iterable[ServiceDraft]) -> list[str]:
    by_rule: dict[tuple[str, str], list[str]] = {}
    for service in services:
        for notice in service.notices:
            key = notice.channel, notice.at_least
            by_rule.setdefault(key, []).append(service.name)
    if not by_rule:
        return []
    rules = [
        {"channel": channel, "services": list(dict.fromkeys(names)), "at_least": least}
        for (channel, least), names in by_rule.items()
    ]
    return dump({"notices": rules})
