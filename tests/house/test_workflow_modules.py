"""Workflows are loaded once for all runs: modules name nothing that differs in a replay."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.groups import ROOT

MODULES = sorted((ROOT / "workflows").rglob("*.py"))
NEVER = frozenset(
    {
        *("random", "secrets", "time", "os", "io", "socket", "subprocess", "tempfile", "shutil"),
        *("threading", "multiprocessing", "concurrent", "logging", "pathlib", "platform"),
    }
)
"""Modules of the standard library that no workflow may name."""
NEVER_CALLED = frozenset({"uuid1", "uuid4", "getpid", "today", "utcnow", "open", "input", "id"})
_CHANGING = (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)
_CHANGED_BY = frozenset(
    {
        *("append", "add", "update", "clear", "pop", "popitem", "setdefault", "extend"),
        *("insert", "remove", "discard"),
    }
)


def faults(code: str) -> Iterator[str]:
    """What in a module may differ between two runs of the same history, with its line."""
    tree = ast.parse(code)
    kept = set(_kept(tree))
    for node in ast.walk(tree):
        match node:
            case ast.Import(names=names):
                yield from (
                    f"{node.lineno}: {name.name}"
                    for name in names
                    if name.name.partition(".")[0] in NEVER
                )
            case ast.ImportFrom(module=str(module)) if module.partition(".")[0] in NEVER:
                yield f"{node.lineno}: {module}"
            case ast.Call(func=ast.Name(id=name) | ast.Attribute(attr=name)) if (
                name in NEVER_CALLED or _reads_a_clock(node)
            ):
                yield f"{node.lineno}: {name}()"
            case ast.Global(names=names):
                yield f"{node.lineno}: global {', '.join(names)}"
            case ast.Call(func=ast.Attribute(attr=attr, value=ast.Name(id=name))) if (
                attr in _CHANGED_BY and name in kept
            ):
                yield f"{node.lineno}: {name}.{attr}()"
            case ast.Subscript(ctx=ast.Store() | ast.Del(), value=ast.Name(id=name)) if (
                name in kept
            ):
                yield f"{node.lineno}: {name}[]"


def _reads_a_clock(call: ast.Call) -> bool:
    """`now()` of anything but the workflow itself."""
    match call.func:
        case ast.Attribute(attr="now", value=ast.Name(id="datetime")):
            return True
    return False


def _kept(tree: ast.Module) -> Iterator[str]:
    """Variables of the module that could be changed."""
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=value) if isinstance(
                value, (*_CHANGING, ast.Call)
            ):
                yield name
            case ast.AnnAssign(target=ast.Name(id=name), value=value) if isinstance(
                value, (*_CHANGING, ast.Call)
            ):
                yield name


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_module_of_workflows_names_nothing_that_differs_between_replays(module: Path) -> None:
    assert list(faults(module.read_text())) == []


@pytest.mark.parametrize(
    "code",
    [
        "import time",
        "import os.path",
        "from random import choice",
        "from concurrent.futures import Executor",
        "import uuid\nuuid.uuid4()",
        "from datetime import datetime\ndatetime.now()",
        "from datetime import date\ndate.today()",
        "open('a')",
        "SEEN = {}\ndef f(): SEEN['a'] = 1",
        "SEEN: set[str] = set()\ndef f(): SEEN.add('a')",
        "SEEN = []\ndef f(): SEEN.append(1)",
        "SEEN = {}\ndef f(): del SEEN['a']",
        "COUNT = 0\ndef f():\n    global COUNT\n    COUNT += 1",
    ],
)
def test_what_differs_is_found(code: str) -> None:
    assert len(list(faults(code))) == 1
