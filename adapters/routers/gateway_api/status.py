"""What the status of an HTTPRoute or GRPCRoute says of its parents."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from adapters.routers.kubernetes.form import Said
from schemas.outside import TEXT_MOST, cut, visible

_WANTED: Final = ("Accepted", "ResolvedRefs")
_DEFAULTS: Final = {"group": "gateway.networking.k8s.io", "kind": "Gateway"}


def said(found: Mapping[str, Any]) -> Said:
    """What the parents say of the generation that an object has now."""
    refused: list[str] = []
    unsaid: list[str] = []
    spec, status = found.get("spec") or {}, found.get("status") or {}
    namespace = str(found["metadata"].get("namespace", ""))
    there = [
        (_parent(one.get("parentRef") or {}, namespace), one) for one in status.get("parents") or ()
    ]
    for ref in spec.get("parentRefs") or ():
        name = _parent(ref, namespace)
        states = [one for parent, one in there if parent == name]
        if not states:
            unsaid.append(f"{_text(name)} says nothing")
        for state in states:
            for is_refused, text in _looked(state, int(found["metadata"].get("generation", 0))):
                (refused if is_refused else unsaid).append(f"{_text(name)} {text}")
    if not spec.get("parentRefs"):
        unsaid.append("it has no parents, expected parentRefs")
    return Said(tuple(refused), tuple(unsaid))


def _looked(state: Mapping[str, Any], generation: int) -> Iterator[tuple[bool, str]]:
    conditions = {one.get("type"): one for one in state.get("conditions") or ()}
    by = visible(cut(str(state.get("controllerName", "")), 200))
    for kind in _WANTED:
        one = conditions.get(kind)
        if one is None or one.get("observedGeneration", 0) < generation:
            yield False, f"({by}) has not said {kind} of generation {generation}"
        elif one.get("status") != "True":
            why = visible(cut(f"{one.get('reason')}: {one.get('message')}", TEXT_MOST))
            yield True, f"({by}) says {kind}={one.get('status')}: {why}"


def _parent(ref: Mapping[str, Any], namespace: str) -> tuple[str, ...]:
    known = {**_DEFAULTS, "namespace": namespace, "sectionName": "", "port": "", **ref}
    return tuple(
        str(known.get(name, ""))
        for name in ("group", "kind", "namespace", "name", "sectionName", "port")
    )


def _text(parent: tuple[str, ...]) -> str:
    _, kind, namespace, name, section, _ = parent
    return visible(cut(f"{kind} {namespace}/{name}{f' ({section})' if section else ''}", 300))
