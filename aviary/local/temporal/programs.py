"""Temporal's production server and its SQL tool, built from their Go modules at first use.

`build/go.mod` pins them, `build/go.sum` has the checksums of every module. Go itself has to be
there; the first build takes minutes.

    tools = await programs.install(debian.cache_folder(), print)
    subprocess.run([tools.sql_tool, "--plugin", "postgres12", …, "update-schema", "-d",
                    tools.schema("temporal")])
    subprocess.Popen([tools.server, "--root", folder, "--config", "config", "start"])
"""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from aviary.local import debian, golang
from aviary.local.golang import GoError

SOURCE: Final = Path(__file__).parent / "build"
VERSION: Final = "1.31.0"
"""Of the server; `build/go.mod` has the same."""
MINUTES: Final = 4
"""What a first build takes on two free cores."""
_MODULE: Final = "go.temporal.io/server"
_PROGRAMS: Final = {
    "temporal-server": f"{_MODULE}/cmd/server",
    "temporal-sql-tool": f"{_MODULE}/cmd/tools/sql",
}
_RECIPE: Final = 1


class TemporalBuildError(RuntimeError):
    """The server can't be had here; the text says why."""


@dataclass(frozen=True)
class TemporalTools:
    """What was built, and what of the module belongs to it."""

    root: Path

    @property
    def server(self) -> Path:
        """The server with all four roles, linked statically."""
        return self.root / "bin/temporal-server"

    @property
    def sql_tool(self) -> Path:
        """Makes and upgrades the databases, linked statically."""
        return self.root / "bin/temporal-sql-tool"

    @property
    def schemas(self) -> Path:
        """The folder that Temporal's image of admin tools has as `/etc/temporal/schema`."""
        return self.root / "schema"

    @property
    def entry_point(self) -> Path:
        """The script by which Temporal's image begins."""
        return self.root / "entrypoint.sh"

    def schema(self, database: Literal["temporal", "visibility"]) -> Path:
        """The steps of one database on PostgreSQL, as `update-schema` reads them."""
        return self.schemas / "postgresql/v12" / database / "versioned"

    def is_there(self) -> bool:
        """Whether all of it was built."""
        return (self.root / "stamp.json").exists()


def tools(cache: Path) -> TemporalTools:
    """Where this source's programs are, or would be."""
    return TemporalTools(cache.absolute() / "temporal" / _digest())


def to_build(cache: Path) -> int:
    """The minutes that `install` would take; 0 where it is done, or can't be."""
    return 0 if tools(cache).is_there() or not golang.is_there() else MINUTES


async def install(cache: Path, say: Callable[[str], None]) -> TemporalTools:
    """Build the programs below `cache` unless that is done already; about 170 MB.

    Args:
        cache: a folder that may be kept between runs; two processes may share it.
        say: told what takes minutes, before it begins.

    Raises:
        TemporalBuildError: Go is missing, or failed.
    """
    made = tools(cache)
    if made.is_there():
        return made
    made.root.mkdir(parents=True, exist_ok=True)
    with await asyncio.to_thread(debian.locked, made.root.parent / "lock"):
        if made.is_there():
            return made
        if not golang.is_there():
            raise TemporalBuildError("go is not there, which builds Temporal (golang.org, 1.26)")
        say(
            f"building Temporal's server {VERSION} from source, once: "
            f"about {MINUTES} minutes of two free cores, and 1 GB of modules"
        )
        try:
            await _build(made.root)
        except GoError as error:
            raise TemporalBuildError(str(error)) from error
        (made.root / "stamp.json").write_text(json.dumps({"server": VERSION}))
        return made


async def _build(root: Path) -> None:
    flags = ("-trimpath", "-mod=readonly", "-ldflags", "-s -w")
    for name, package in _PROGRAMS.items():
        await golang.go(SOURCE, "build", *flags, "-o", f"{root}/bin/{name}", package)
    listed = await golang.go(SOURCE, "list", "-mod=readonly", "-m", "-f", "{{.Dir}}", _MODULE)
    await asyncio.to_thread(_copy, Path(listed.strip()), root)


def _copy(module: Path, root: Path) -> None:
    """Take what is no program; the cache of modules can't be written to, its copies can."""
    entry_point, schemas = module / "docker/scripts/sh/entrypoint.sh", module / "schema"
    for path in (entry_point, schemas):
        if not path.exists():
            raise TemporalBuildError(f"{_MODULE} {VERSION}: expected {path.relative_to(module)}")
    target = root / "schema"
    shutil.rmtree(target, ignore_errors=True)
    for file in sorted((schemas / "postgresql").rglob("*")):
        if file.is_file():
            place = target / file.relative_to(schemas)
            place.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, place)
    shutil.copyfile(entry_point, root / "entrypoint.sh")


def _digest() -> str:
    files = (SOURCE / "go.mod", SOURCE / "go.sum")
    return golang.digest(files, _RECIPE)
