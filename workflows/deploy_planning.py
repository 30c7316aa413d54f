"""Whether the versions of a release can be put up, as far as that is known before anything runs."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from schemas.catalog import Catalog
from schemas.catalog_check import MISSING, Finding
from schemas.deploy import Images, ServiceVersion
from schemas.problems import show_path, show_value
from schemas.release import ServicePlan

_ORDER: Final = 1
"""A generation, for what is only looked at."""


def with_version(plan: ServicePlan, asked: ServiceVersion) -> ServicePlan:
    """The plan of a service that has a deployer, with what the event says of the version."""
    if plan.deploy is None:
        return plan
    return plan.model_copy(update={"image": asked.image, "config": asked.config})


def unfit_version(
    catalog: Catalog, plan: ServicePlan, asked: ServiceVersion, release: str, images: Images
) -> str:
    """What can't be done of a version, for a person; empty where nothing is known to be wrong.

    Args:
        catalog: knows the kinds of deployers.
        plan: of its service.
        asked: what the event says of it.
        release: that wants it.
        images: how the images of the event are meant.
    """
    return "; ".join(_told(one) for one in _unfit(catalog, plan, asked, release, images))


def _unfit(
    catalog: Catalog, plan: ServicePlan, asked: ServiceVersion, release: str, images: Images
) -> Iterator[Finding]:
    ordered = asked.image if images is Images.ORDERED else None
    if plan.deploy is None:
        nobody = "none: the catalog says deploy: none for it, and nobody would use it"
        if ordered is not None:
            yield Finding(("image",), ordered, nobody)
        if asked.config:
            yield Finding(("config",), ", ".join(sorted(asked.config)), nobody)
        return
    facts = catalog.deployer_facts(plan.deploy)
    if facts is None or images is Images.UNKNOWN:
        return
    if ordered is not None and not facts.image:
        yield Finding(("image",), ordered, f"none: a deployer of kind {plan.deploy.kind} has none")
    for found in facts.lacks(plan.wanted(release, _ORDER, plan.deploy.instances)):
        yield Finding(("deploy", *found.path), found.value, found.expected)


def _told(found: Finding) -> str:
    got = "missing" if found.value is MISSING else f"got {show_value(found.value)}"
    return f"{show_path(found.path)}: {got}, expected {found.expected}"
