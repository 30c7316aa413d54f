"""The tests in groups that share no server: `python -m tests` runs some of them side by side.

A file of tests belongs to the group that names its folder, or the nearest folder above it. Its
tests are in one of two parts: what is run often (`make test`), and the rest (`make acceptance`).
"""

from __future__ import annotations

from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).parents[1]

# The longest first: what is short fills the gaps at the end.
GROUPS: Final[dict[str, tuple[str, ...]]] = {
    "kubernetes": ("tests/kubernetes",),
    "workflows": ("tests/workflows",),
    "unit": ("tests/unit", "tests/test_imports.py"),
    "contract": ("tests/contract",),
    "chaos": ("tests/chaos",),
    "rollbacks": (
        "tests/workflows/test_drift.py",
        "tests/workflows/test_resets.py",
        "tests/workflows/test_reverts.py",
        "tests/workflows/test_rollback.py",
        "tests/workflows/test_vanished.py",
    ),
    "builds": ("tests/builds",),
    "e2e": ("tests/e2e",),
    "kafka": ("tests/contract/kafka",),
    "fuzz": ("tests/fuzz",),
    "durability": ("tests/durability",),
    "engines": ("tests/engines",),
    "browser": ("tests/browser",),
    "house": ("tests/house",),
    "deployers": ("tests/contract/deployers", "tests/compose"),
    "telemetry": ("tests/telemetry", "tests/replay"),
}


class Part(StrEnum):
    """Which tests of a group."""

    TEST = "test"
    """Each layer and each main promise, in about 15 minutes on two cores that do nothing else."""
    ACCEPTANCE = "acceptance"
    """The rest: other platforms, whole clusters, images, browsers, what takes long."""


ACCEPTANCE: Final[tuple[str, ...]] = (
    "tests/browser",
    "tests/builds",
    "tests/durability",
    "tests/kubernetes",
    "tests/chaos/test_matrix.py",
    "tests/chaos/test_outages.py",
    "tests/chaos/test_sentinel.py",
    "tests/contract/deployers/test_docker_faults.py",
    "tests/contract/deployers/test_docker_pulls.py",
    "tests/contract/deployers/test_docker_reached.py",
    "tests/contract/deployers/test_shop_images.py",
    "tests/contract/kafka/test_exporter.py",
    "tests/contract/kafka/test_heavy_records.py",
    "tests/contract/kafka/test_odd_records.py",
    "tests/contract/kafka/test_storm.py",
    "tests/contract/routers/test_ads.py",
    "tests/contract/routers/test_alb_writes.py",
    "tests/contract/routers/test_caddy_writes.py",
    "tests/contract/routers/test_envoy_lanes.py",
    "tests/contract/routers/test_envoy_mirroring.py",
    "tests/contract/routers/test_envoy_sampling.py",
    "tests/contract/routers/test_haproxy_endpoints.py",
    "tests/contract/routers/test_haproxy_traffic.py",
    "tests/contract/routers/test_haproxy_writes.py",
    "tests/contract/routers/test_nginx_pack.py",
    "tests/contract/routers/test_nginx_traffic.py",
    "tests/contract/routers/test_nginx_writes.py",
    "tests/contract/routers/test_traefik_endpoints.py",
    "tests/contract/routers/test_traefik_mirroring.py",
    "tests/contract/routers/test_traefik_pack.py",
    "tests/contract/routers/test_traefik_sticky.py",
    "tests/contract/routers/test_traefik_writes.py",
    "tests/contract/routers/test_unleash_ends.py",
    "tests/contract/routers/test_unleash_writes.py",
    "tests/e2e/test_alert_rule.py",
    "tests/e2e/test_balancer.py",
    "tests/e2e/test_judge.py",
    "tests/e2e/test_observed.py",
    "tests/e2e/test_pipeline_docs.py",
    "tests/e2e/test_pipeline_jobs.py",
    "tests/e2e/test_quickstart.py",
    "tests/e2e/test_try_your_services.py",
    "tests/e2e/test_up_and_down.py",
    "tests/house/test_argocd.py",
    "tests/house/test_caddy_page.py",
    "tests/house/test_compose.py",
    "tests/house/test_dockerfile.py",
    "tests/house/test_envoy_fleet_page.py",
    "tests/house/test_haproxy_page.py",
    "tests/house/test_nginx_page.py",
    "tests/house/test_observe.py",
    "tests/house/test_pipeline_files.py",
    "tests/house/test_pipeline_runners.py",
    "tests/house/test_relabelling.py",
    "tests/house/test_traefik_page.py",
    "tests/unit/audit/test_replay_command.py",
    "tests/unit/audit/test_verify_command.py",
    "tests/unit/catalog/test_sharing.py",
    "tests/unit/cli/test_bounds.py",
    "tests/unit/numbers/test_dora.py",
    "tests/unit/pipeline/test_jobs.py",
    "tests/unit/routers/test_alb.py",
    "tests/unit/routers/test_alb_counts.py",
    "tests/unit/routers/test_caddy_values.py",
    "tests/unit/routers/test_flagd.py",
    "tests/unit/routers/test_gateway_rules.py",
    "tests/unit/routers/test_gateway_traefik.py",
    "tests/unit/routers/test_haproxy_moves.py",
    "tests/unit/routers/test_haproxy_values.py",
    "tests/unit/routers/test_istio_rules.py",
    "tests/unit/routers/test_istio_subsets.py",
    "tests/unit/routers/test_istiod.py",
    "tests/unit/routers/test_kubernetes_router.py",
    "tests/unit/routers/test_traefik_document.py",
    "tests/unit/routers/test_unleash.py",
    "tests/unit/test_limits.py",
    "tests/unit/test_sample_ratio.py",
    "tests/workflows/test_ab.py",
    "tests/workflows/test_blame.py",
    "tests/workflows/test_bounds.py",
    "tests/workflows/test_deploy.py",
    "tests/workflows/test_drift.py",
    "tests/workflows/test_flags.py",
    "tests/workflows/test_flood.py",
    "tests/workflows/test_following.py",
    "tests/workflows/test_history.py",
    "tests/workflows/test_hooks.py",
    "tests/workflows/test_lanes.py",
    "tests/workflows/test_large.py",
    "tests/workflows/test_leases.py",
    "tests/workflows/test_long_bakes.py",
    "tests/workflows/test_long_histories.py",
    "tests/workflows/test_polling.py",
    "tests/workflows/test_ramp.py",
    "tests/workflows/test_resets.py",
    "tests/workflows/test_run_hooks.py",
    "tests/workflows/test_several.py",
    "tests/workflows/test_shrink_stable.py",
    "tests/workflows/test_standing.py",
    "tests/workflows/test_stateful.py",
    "tests/workflows/test_taking_back.py",
    "tests/workflows/test_unseen.py",
    "tests/workflows/test_watching.py",
)
"""Files and folders all of whose tests are in that part."""

SPLIT: Final[tuple[str, ...]] = (
    "tests/chaos/test_rollback_order.py",
    "tests/contract/deployers",
    "tests/contract/routers",
    "tests/unit/cli/test_border.py",
)
"""Files and folders some of whose tests are: those marked `acceptance`."""


def group_of(file: Path) -> str | None:
    """The group that a file of tests below the repository belongs to; None where there is none."""
    names = {path: group for group, paths in GROUPS.items() for path in paths}
    relative = file.relative_to(ROOT)
    places = (relative, *relative.parents)
    return next((names[place.as_posix()] for place in places if place.as_posix() in names), None)


@cache
def is_below(file: Path, paths: tuple[str, ...]) -> bool:
    """Whether a file, or a folder, is one of these or in one of them."""
    return any(file.is_relative_to(ROOT / path) for path in paths)


def groups_of(part: Part) -> list[str]:
    """The groups that have tests of a part."""
    if part is Part.ACCEPTANCE:
        some = {group_of(ROOT / path) for path in (*ACCEPTANCE, *SPLIT)}
        return [group for group in GROUPS if group in some]
    return [
        group
        for group, paths in GROUPS.items()
        if not all(is_below(ROOT / path, ACCEPTANCE) for path in paths)
    ]


def arguments(group: str, part: Part | None = None) -> list[str]:
    """What pytest is told to run it, or a part of it: paths, and what is left out below them."""
    mine = GROUPS[group]
    others = [path for other, paths in GROUPS.items() if other != group for path in paths]
    only = "not long"
    if part is Part.TEST:
        mine = tuple(path for path in mine if not is_below(ROOT / path, ACCEPTANCE))
        others += ACCEPTANCE
        only += " and not acceptance"
    elif part is Part.ACCEPTANCE:
        mine = tuple(
            path
            for path in (*SPLIT, *(one for one in ACCEPTANCE if not is_below(ROOT / one, SPLIT)))
            if group_of(ROOT / path) == group
        )
        only += " and acceptance"
    left_out = [path for path in others if any(path.startswith(f"{place}/") for place in mine)]
    return [*mine, *(f"--ignore={path}" for path in left_out), "-m", only]
