"""The examples of docs/contributing.md: the files that it shows, and its changes of others."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from types import ModuleType
from typing import Final

PAGE: Final = Path(__file__).parents[1] / "docs/contributing.md"
_SHOWN: Final = re.compile(
    r"`([\w/]+\.(?:py|yaml))`:\n\n```(?:python|yaml)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)
_CHANGED: Final = re.compile(r"^```diff\n--- (\S+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def shown() -> dict[str, str]:
    """The files that the page shows in full, by their paths."""
    return dict(_SHOWN.findall(PAGE.read_text()))


def changed() -> list[tuple[str, list[str]]]:
    """The files that it changes, with the hunks of each."""
    return [(name, hunks.split("@@\n")) for name, hunks in _CHANGED.findall(PAGE.read_text())]


def load(name: str) -> ModuleType:
    """One of the files, as a module."""
    module = ModuleType(f"guide.{name.removesuffix('.py').replace('/', '.')}")
    sys.modules[module.__name__] = module  # where models look names of types up
    exec(compile(shown()[name], f"{PAGE}: {name}", "exec"), module.__dict__)
    return module
