"""The table of services on a release's page in the Temporal UI. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from schemas.catalog_check import listed
from schemas.release import CanaryPhase, ServiceStatus
from schemas.versions import short
from workflows.describe import LAST_FAILURE, phase
from workflows.markdown import WIDTH, canary_link, cell, row


def services_table(
    services: Sequence[ServiceStatus], runs: Mapping[str, str], rows_at_most: int
) -> str:
    """The services of a release, in dependency order, in Markdown.

    Args:
        services: all of them.
        runs: run ids of their canaries by service, for links that lead to their pages.
        rows_at_most: so many are shown, those first where something happens.
    """
    shown = _most_urgent(services, rows_at_most)
    rows = [row("service", "state", "why"), "|:---|:---|:---|"]
    for one in shown:
        waits_for = f"waits for {one.waits_for}" if one.waits_for else ""
        stuck = one.phase is CanaryPhase.STUCK
        why = one.cause.text if one.cause and not stuck else waits_for
        if not why and one.group:
            why = f"in step with {listed(name for name in one.group if name != one.service)}"
        if not why and one.verdict is not None:
            why = one.verdict.sentence
        run = runs.get(one.service)
        name = canary_link(one.service, run) if run else cell(one.service)
        versions = f"{short(one.stable)} → " if one.stable else ""
        versions += short(one.version)
        width = WIDTH * 2 if stuck or LAST_FAILURE in why else WIDTH
        rows.append(row(f"{name} {cell(versions)}", _state(one), cell(why, width)))
    left = len(services) - len(shown)
    if left:
        kept = {one.service for one in shown}
        counts = Counter(phase(one.phase, None, 0) for one in services if one.service not in kept)
        others = ", ".join(f"{count} {where}" for where, count in counts.items())
        rows.append(row(f"and {left} more", others, ""))
    return "\n".join(rows)


def _state(one: ServiceStatus) -> str:
    if one.phase is CanaryPhase.SKIPPED:
        return "never started"
    where = phase(one.phase, one.step, one.steps)
    return where if one.phase is CanaryPhase.WAITING else f"{where}, {one.gets}"


def _most_urgent(services: Sequence[ServiceStatus], count: int) -> list[ServiceStatus]:
    """As many as there is room for, in dependency order; first those where something happens."""
    if len(services) <= count:
        return list(services)
    first = sorted(services, key=lambda one: -one.phase.about.urgency)[:count]
    kept = {one.service for one in first}
    return [one for one in services if one.service in kept]
