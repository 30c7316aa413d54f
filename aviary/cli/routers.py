"""`aviary routers`: the kinds of routers that there are, and what each can do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer

from aviary.cli.border import echo, print_json
from aviary.cli.options import Format, FormatOption

if TYPE_CHECKING:
    from aviary.registry import Registry
    from schemas.capabilities import AudienceTerms, Capabilities

MarkdownOption = Annotated[
    bool, typer.Option("--markdown", help="As the table of the catalog's reference.")
]


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(routers)


def routers(output: FormatOption = Format.TABLE, *, markdown: MarkdownOption = False) -> None:
    """List the kinds of routers that are installed, and what each can do. Needs no server."""
    from aviary.kinds import registry  # noqa: PLC0415 - keeps --help fast

    known = registry()
    if markdown:
        echo("\n".join(markdown_table(known)))
    elif output is Format.JSON:
        print_json({"routers": list(_described(known))})
    else:
        from aviary.cli.tables import print_routers  # noqa: PLC0415

        print_routers(list(_described(known)))


def _described(known: Registry) -> Iterator[dict[str, Any]]:
    from adapters.packs import Pack  # noqa: PLC0415
    from aviary.registry import Broken  # noqa: PLC0415

    for kind in known.routers.every():
        if isinstance(kind, Broken):
            yield {"kind": kind.name, "broken": kind.why}
            continue
        yield {
            "kind": kind.name,
            "text": kind.text,
            "options": sorted(kind.options.model_fields),
            "connection": kind.connection and kind.connection.connection_kind,
            "needs_connection": kind.needs_connection,
            "capabilities": {
                **kind.capabilities.model_dump(mode="json"),
                "smallest": kind.capabilities.smallest,
            },
            "metrics": [metric.name for metric in kind.metrics or ()],
            "pack": kind.name if isinstance(kind.pack, Pack) else kind.pack,
        }


def markdown_table(known: Registry) -> Iterator[str]:
    """The kinds as the table of docs/reference/catalog.md, line by line."""
    yield "| `kind` | options | |"
    yield "|---|---|---|"
    for kind in known.routers.usable():
        options = [f"`{name}`" for name in kind.options.model_fields]
        if kind.connection is not None:
            options.append("`connection`")
        names = ", ".join(f"`{metric.name}`" for metric in kind.metrics or ())
        metrics = f"Metrics: {names}" if names else "No metrics of its own"
        does = capable(kind.capabilities)
        yield f"| `{kind.name}` | {', '.join(options)} | {kind.text} {metrics}. {does}. |"


def _terms(terms: AudienceTerms) -> Iterator[str]:
    """How a router can tell an audience, beyond one equal value."""
    for name, values in (("prefixes", terms.prefixes), ("regular expressions", terms.regexes)):
        if values:
            yield f"{name} of {', '.join(values)}"
    if terms.negated:
        yield f"not of {', '.join(terms.negated)}"
    if terms.all_of:
        yield "all of several"
    if terms.kept:
        yield "several audiences at a time"
    if not terms.mixed:
        yield "no alternatives of other fields"
    if terms.beside:
        yield f"an audience only beside {terms.beside}"


def capable(can: Capabilities) -> str:
    """What a router can do, in a sentence without its end."""
    parts = [f"Weights: {can.weights.text}"]
    for name, values in (
        ("users stay by", can.sticky),
        ("a strategy can have them stay by", can.sticky_choices),
        ("a version can be asked for by", can.forced),
        ("audiences by", can.audiences),
    ):
        if values:
            parts.append(f"{name} {' or '.join(values)}")
    parts += _terms(can.audience_terms)
    if can.lanes:
        parts.append("lanes")
    if can.mirroring:
        methods = (
            "GET, HEAD and OPTIONS, or every method" if can.mirror_reads else "of every method"
        )
        parts.append(f"copies requests ({methods}; {'' if can.mirror_mark else 'not '}marked)")
    who = {"none": "nobody counts", "router": "it counts", "metrics": "metrics count"}
    parts.append(f"{who[can.counts]} requests")
    return "; ".join(parts)
