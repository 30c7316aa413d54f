"""A catalog that asks for more than the router of a service can do is refused, by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from aviary.catalogs import read_catalog
from schemas.catalog_file import CatalogError
from tests.packages import Packages

NLB = """
from adapters.kinds import RouterKind
from adapters.routers.memory.router import MemoryRouter
from schemas.capabilities import Capabilities, RelativeGrid

CAPABILITIES = Capabilities(weights=RelativeGrid(most=999))
NLB = RouterKind(
    name="nlb",
    text="Weights from 0 to 999 a target group.",
    make=lambda options, connection, shared: MemoryRouter(CAPABILITIES),
    capabilities=CAPABILITIES,
)
"""
CATALOG = """\
version: 1
defaults: {{router: {{kind: nlb}}, metrics: []}}
strategies:
  careful: {strategy}
services:
  cart: {{strategy: careful}}
  shop: {{strategy: careful}}
"""


def _catalog(tmp_path: Path, strategy: str) -> Path:
    path = tmp_path / "catalog.yaml"
    path.write_text(CATALOG.format(strategy=strategy))
    return path


def test_a_weight_that_the_router_can_t_do_is_named_with_the_nearest(
    tmp_path: Path, packages: Packages
) -> None:
    packages.install("our_nlb", NLB, {"nlb": "our_nlb:NLB"})
    with pytest.raises(CatalogError) as caught:
        read_catalog(_catalog(tmp_path, "{steps: [0.05, 5, 99.95]}"))
    can = "a weight that the router nlb can do: weights from 0 to 999 a version, 0.1 % or more"
    told = [str(one).partition(":4: strategies.careful.")[2] for one in caught.value.problems]
    assert told == [
        f"steps[0].weight: got 0.05, expected {can}; the nearest is 0.1 %",
        f"steps[2].weight: got 99.95, expected {can}; the nearest is 99.9 %",
    ]


def test_a_ramp_on_a_router_that_counts_nothing_is_refused(
    tmp_path: Path, packages: Packages
) -> None:
    packages.install("our_nlb", NLB, {"nlb": "our_nlb:NLB"})
    with pytest.raises(CatalogError, match="the router nlb counts no requests"):
        read_catalog(_catalog(tmp_path, "{ramp: {budget: 100}}"))


def test_the_nearest_weight_is_taken(tmp_path: Path, packages: Packages) -> None:
    packages.install("our_nlb", NLB, {"nlb": "our_nlb:NLB"})
    assert read_catalog(_catalog(tmp_path, "{steps: [0.1, 5, 33.33, 99.9]}")).services
