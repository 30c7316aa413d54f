"""The manifests of this folder, and what is kept of their imports: catalog and table as text.

`python -m tests.unit.moving.imports` writes the expected ones anew; read what changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aviary.moving.drafts import RouterDraft
from aviary.moving.routers import Chooser
from aviary.moving.run import Imported, Tool, import_manifests
from aviary.moving.writing import RouterChoice

FOLDER = Path(__file__).parent / "manifests"
MANIFESTS = sorted(FOLDER.glob("*/*.yaml"))
WHOLE = [FOLDER / "argo/02-istio-background.yaml", FOLDER / "flagger/05-gates-and-alerts.yaml"]
"""Those whose catalog is kept with its comments."""


def name_of(path: Path) -> str:
    """Tool and name of a manifest."""
    return f"{path.parent.name}/{path.stem}"


def imported(
    *texts: str, tool: Tool | None = None, router: dict[str, Any] | None = None
) -> Imported:
    """What an import makes of texts, the first in `1.yaml`."""
    files = {f"{at}.yaml": text for at, text in enumerate(texts, 1)}
    return import_manifests(files, Chooser({}, given=router is not None), tool, router)


def kept(path: Path) -> str:
    """The import of one file: the catalog without comments, then the table without texts."""
    found = import_manifests({path.name: path.read_text()}, Chooser({}, given=False))
    catalog = [line for line in found.catalog.split("\n") if not line.strip().startswith("#")]
    table = [f"{row.became.value}: {row.place.line}: {row.place.path}" for row in found.report.rows]
    return "\n".join([*catalog, *table]) + "\n"


def commented(path: Path) -> str:
    """The catalog that an import of one file writes, as it is."""
    found = import_manifests({path.name: path.read_text()}, _none)
    return found.catalog


def _none(routers: Sequence[RouterDraft]) -> RouterChoice:
    wanted = [{"kind": one.kind, **one.options} for one in routers]
    return RouterChoice(wanted=wanted[0], why="none of the kinds:")


def whole(path: Path) -> Path:
    """Where that is kept."""
    return path.with_suffix(".catalog")


def expected(path: Path) -> Path:
    """Where that is kept."""
    return path.with_suffix(".expected.txt")


if __name__ == "__main__":
    for file in MANIFESTS:
        expected(file).write_text(kept(file))
    for file in WHOLE:
        whole(file).write_text(commented(file))
