"""What Envoys have taken up, and what they refused: told in a file beside the routes.

Whoever writes routes reads it there: an Envoy's own words for a refusal are nowhere else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from pydantic import Field, ValidationError

from adapters.errors import Retryable
from adapters.routers.files import read_document, write_whole
from schemas.base import Model
from schemas.outside import cut, visible

NODES_MOST: Final = 5_000
"""That are remembered; of more, those that went first are forgotten."""
NAME_MOST: Final = 200
REFUSAL_MOST: Final = 1_000
"""Characters of an Envoy's words."""
_PREFIX: Final = "envoys-"


class Node(Model):
    """One Envoy, as the control plane knows it."""

    connected: bool = True
    routes: str = Field(default="", description="Version of the routes that it has taken up.")
    refused: str = Field(default="", description="Version of what it refused last.")
    why: str = Field(default="", description="Its own words for that; empty: nothing is refused.")


class _Nodes(Model):
    nodes: dict[str, Node] = Field(default_factory=dict)


class Nodes:
    """All Envoys of one control plane.

    Args:
        path: the file that tells of them.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._nodes: dict[str, Node] = {}
        self.changes = 0

    def __getitem__(self, name: str) -> Node:
        return self._nodes[name]

    @property
    def known(self) -> Mapping[str, Node]:
        """All of them, by id."""
        return self._nodes

    def change(self, name: str, **fields: object) -> None:
        """Note something of an Envoy."""
        old = self._nodes.pop(name, Node())
        self._nodes[name] = old.model_copy(update=fields)
        self.changes += 1
        if len(self._nodes) > NODES_MOST:
            gone = next((one for one, node in self._nodes.items() if not node.connected), None)
            self._nodes.pop(gone if gone is not None else next(iter(self._nodes)))

    def write(self) -> None:
        """Tell of them. Blocks; raises `Retryable` for trouble with the file."""
        write_whole(self._path, _Nodes(nodes=self._nodes).model_dump(mode="json"))


def file_of(directory: Path, name: str) -> Path:
    """The file of one control plane, by its name."""
    return directory / f"{_PREFIX}{name}.json"


def told_by(directory: Path) -> Sequence[Path]:
    """The files of all control planes of a folder. Blocks."""
    return sorted(directory.glob(f"{_PREFIX}*.json"))


def refusals(directory: Path, version: str) -> Mapping[str, str]:
    """Why Envoys refuse the routes of this version: their words, by their ids.

    Of all control planes of a folder; what can't be read tells nothing. Blocks.
    """
    found: dict[str, str] = {}
    for path in told_by(directory):
        try:
            nodes = _Nodes.model_validate(read_document(path)).nodes
        except (Retryable, ValidationError):
            continue
        found |= {name: one.why for name, one in nodes.items() if one.refused == version}
    return {name: why for name, why in found.items() if why}


def told(text: str, most: int = REFUSAL_MOST) -> str:
    """What an Envoy says, bounded, on one line and with nothing that a terminal would obey."""
    return visible(cut(" ".join(text.split()), most))
