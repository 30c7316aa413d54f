"""A run as a table: for the terminal, and for docs/performance.md. From the JSON document alone."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.table import Table

COLUMNS: Final = ("figure", "unit", "median", "p99", "runs", "floor", "floor p99", "ratio", "goal")
BEGIN: Final = "<!-- table -->"
END: Final = "<!-- end of the table -->"
SIDE: Final = ("router", "first, ms", "last, ms", "confirmed, ms", "failed", "moved by a restart")
SIDE_BEGIN: Final = "<!-- routers -->"
SIDE_END: Final = "<!-- end of the routers -->"
NONE: Final = "-"
_THREE_DIGITS: Final = 100
_PIECES: Final = 1000


def number(value: float | None) -> str:
    """Three digits that matter, and no more."""
    if value is None:
        return NONE
    if abs(value) >= _PIECES:
        return f"{value:,.0f}"
    return f"{value:.0f}" if abs(value) >= _THREE_DIGITS else f"{value:.3g}"


def rows(document: Mapping[str, Any]) -> Iterator[tuple[tuple[str, ...], bool]]:
    """The cells of each figure, and whether it misses its goal."""
    for figure in document["figures"]:
        floor = figure["floor"] or {"median": None, "p99": None}
        ratio = f"{figure['ratio']:.2f}" if figure["ratio"] is not None else NONE
        goal = figure["goal"] or NONE
        missed = bool(figure["missed"])
        cells = (
            figure["name"],
            figure["unit"],
            number(figure["median"]),
            number(figure["p99"]),
            number(figure["runs"]),
            number(floor["median"]),
            number(floor["p99"]),
            ratio,
            f"{goal}: missed" if missed else goal,
        )
        yield cells, missed


def rich_table(document: Mapping[str, Any]) -> Table:
    """For the terminal."""
    table = Table(title=_title(document), title_justify="left")
    for column in COLUMNS:
        table.add_column(column, justify="left" if column in {"figure", "unit"} else "right")
    for cells, missed in rows(document):
        table.add_row(*cells, style="bold red" if missed else None)
    return table


def markdown(document: Mapping[str, Any]) -> str:
    """For the page: figures, then where the time of each goes."""
    lines = [*_about(document), _line(COLUMNS), _line(["---"] * 2 + ["--:"] * 6 + ["---"])]
    lines += [_line(cells) for cells, _ in rows(document)]
    for figure in document["figures"]:
        if figure["parts"]:
            lines += ["", f"{figure['name']}, {figure['unit']}:", ""]
            lines += [_line(("hop", "median", "p99")), _line(("---", "--:", "--:"))]
            lines += [
                _line((name, number(part["median"]), number(part["p99"])))
                for name, part in figure["parts"].items()
            ]
    return "\n".join(lines) + "\n"


def side_by_side(document: Mapping[str, Any], sites: Mapping[str, Sequence[str]]) -> str:
    """Routers as rows, for the page: `median (p99)`, and behind it the median of the floor.

    Args:
        document: a run that measured them.
        sites: names of the figures of each router, in the order of the columns.
    """
    found = {figure["name"]: figure for figure in document["figures"]}
    lines = [*_about(document), _line(SIDE), _line(["---"] + ["--:"] * (len(SIDE) - 1))]
    for site, names in sites.items():
        lines.append(_line((site, *(_cell(found[name]) for name in names))))
    return "\n".join(lines) + "\n"


def _cell(figure: Mapping[str, Any]) -> str:
    ours = number(figure["median"])
    if figure["note"]:
        return f"{ours} {figure['note']}"
    ours = f"{ours} ({number(figure['p99'])})"
    return f"{ours}; {number(figure['floor']['median'])}" if figure["floor"] else ours


def insert(page: str, table: str, begin: str = BEGIN, end: str = END) -> str:
    """The page with another table between its two marks.

    Raises:
        ValueError: the page does not have the marks.
    """
    before, found, rest = page.partition(begin)
    _, ended, after = rest.partition(end)
    if not found or not ended:
        raise ValueError(f"page: expected {begin} and then {end}")
    return f"{before}{begin}\n{table}{end}{after}"


def _about(document: Mapping[str, Any]) -> list[str]:
    """On what a run was measured; nothing of a document that does not say."""
    if "machine" not in document:
        return []
    machine = document["machine"]
    versions = {"Python": document["python"], **document["parts"], **document["packages"]}
    said = ", ".join(f"{name} {version}" for name, version in versions.items())
    where = f"{machine['memory_gib']:g} GiB, Linux {machine['kernel']}"
    busy = f"Load of the machine before: {document['busy_before']:g}."
    return [f"{_title(document)}, {where}; {said}. {busy}", ""]


def _title(document: Mapping[str, Any]) -> str:
    machine = document["machine"]
    return (
        f"{document['mode'].capitalize()} run of {document['date']}, "
        f"commit {document['commit'][:12]}"
        f"{' with changes' if document['changed'] else ''}, "
        f"{machine['cores']} cores, {machine['cpu']}"
    )


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
