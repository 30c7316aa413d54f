"""`aviary import`: a catalog from manifests of Argo Rollouts or Flagger."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aviary.cli.border import echo, print_json
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import Format, FormatOption
from aviary.moving.run import Tool

if TYPE_CHECKING:
    from aviary.moving.run import Imported


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command("import")(import_)


def import_(
    files: Annotated[
        list[Path], typer.Argument(help="Files of manifests; - is stdin.", metavar="FILE...")
    ],
    tool: Annotated[
        Tool | None, typer.Option("--from", help="Only manifests of this tool; default: of both.")
    ] = None,
    target: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; default: stdout.")
    ] = None,
    router: Annotated[
        str | None,
        typer.Option(
            "--router",
            help="Router of services whose manifest names none that can be used, as in a catalog.",
        ),
    ] = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """Write a catalog for manifests of Argo Rollouts or Flagger; say what became of each field.

    Exit code 2 if anything was refused. Needs no server.
    """
    from aviary.connections import read_connections  # noqa: PLC0415 - keeps --help fast
    from aviary.moving.routers import Chooser  # noqa: PLC0415
    from aviary.moving.run import has_refused, import_manifests  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415

    connections = read_connections(load_settings())
    chooser = Chooser(connections, given=router is not None)
    imported = import_manifests(
        _texts(files), chooser, tool, None if router is None else _router(router)
    )
    problem = _check(imported, connections)
    catalog = "" if problem else imported.catalog
    if catalog and target is not None:
        _write(target, catalog)
    if output is Format.JSON:
        print_json(_as_data(imported, catalog if target is None else None))
    else:
        if catalog and target is None:
            echo(catalog, nl=False)
        _print_table(imported)
    if problem:
        raise CommandError(ExitCode.BAD_INPUT, problem, lines=True)
    if has_refused(imported):
        raise typer.Exit(int(ExitCode.BAD_INPUT))


def _texts(files: list[Path]) -> dict[str, str]:
    from schemas.files import UnreadableError, bounded, decoded, read_bounded  # noqa: PLC0415

    found: dict[str, str] = {}
    for path in files:
        is_stdin = str(path) == "-"
        name = "stdin" if is_stdin else str(path)
        try:
            content = bounded(sys.stdin.buffer) if is_stdin else read_bounded(path)
            found[name] = decoded(content)
        except UnreadableError as error:
            text = f"{name}: expected {error}"
            raise CommandError(ExitCode.BAD_INPUT, text) from None
    return found


def _router(text: str) -> Any:
    from schemas.document import read_yaml  # noqa: PLC0415

    document = read_yaml(text)
    if document.complaints or not isinstance(document.data, dict | list):
        expected = "a router as a catalog says it, such as {kind: memory}"
        raise CommandError(ExitCode.BAD_INPUT, f"--router: got {text!r}, expected {expected}")
    return document.data


def _check(imported: Imported, connections: Any) -> str:
    """Why nothing can be written; empty where the catalog is valid."""
    from aviary.catalogs import parse_catalog_text  # noqa: PLC0415
    from schemas.catalog_file import CatalogError  # noqa: PLC0415

    if not imported.catalog:
        return "no Rollout or Canary could be carried over: nothing was written"
    try:
        parse_catalog_text(imported.catalog, "catalog", connections)
    except CatalogError as error:
        return f"{error}\nthe catalog would not be valid: nothing was written"
    return ""


def _write(target: Path, text: str) -> None:
    try:
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        why = f"--output: got '{target}', expected a writable file ({error.strerror})"
        raise CommandError(ExitCode.BAD_INPUT, why) from None


def _as_data(imported: Imported, catalog: str | None) -> dict[str, Any]:
    report = imported.report
    return {
        "services": [service.name for service in imported.services] if catalog != "" else [],
        "counts": {became.value: count for became, count in report.counts.items()},
        "rows": [row.to_json() for row in report.rows],
        "more": report.more,
        "catalog": catalog,
    }


def _print_table(imported: Imported) -> None:
    """The rows on stderr: stdout has the catalog."""
    report = imported.report
    rows = [(row.became.value, row.service, row.where, row.text) for row in report.rows]
    widths = [max((len(row[at]) for row in rows), default=0) for at in range(3)]
    for row in rows:
        start = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=False))
        echo(f"{start}  {row[3]}", err=True)
    if report.more:
        echo(f"and {report.more:,} more", err=True)
    counts = ", ".join(f"{count:,} {became.value}" for became, count in report.counts.items())
    number = len(imported.services)
    plural = "" if number == 1 else "s"
    echo(f"{number} service{plural}; {counts or 'nothing was read'}", err=True)
