"""What every deployer checks before it obeys: the generation of what was obeyed before.

What is remembered of a version outlives it: a late attempt of an order from before it was taken
down must not put it up again.
"""

from __future__ import annotations

from pydantic import Field

from adapters.errors import StaleGeneration
from schemas.base import Model
from schemas.deployment import Generation, WantedVersion


class Obeyed(Model):
    """The newest order about a version that was obeyed."""

    generation: Generation
    digest: str = Field(default="", description="Of the order; empty: to take it down.")

    @classmethod
    def of(cls, wanted: WantedVersion) -> Obeyed:
        """The order to have a version so."""
        return cls(generation=wanted.generation, digest=wanted.digest)

    @property
    def down(self) -> bool:
        """Whether the version was to be taken down."""
        return not self.digest


def check_wanted(wanted: WantedVersion, obeyed: Obeyed | None) -> None:
    """Let a newer order pass, and the obeyed one again.

    Raises:
        StaleGeneration: it is neither.
    """
    if obeyed is None or obeyed.generation < wanted.generation or obeyed == Obeyed.of(wanted):
        return
    raise _stale(wanted.service, wanted.version, wanted.generation, obeyed)


def check_take_down(service: str, version: str, generation: int, obeyed: Obeyed | None) -> None:
    """Let an order to take a version down pass that is not older than what was obeyed.

    Raises:
        StaleGeneration: it is.
    """
    if obeyed is not None and obeyed.generation > generation:
        raise _stale(service, version, generation, obeyed)


def check_still(wanted: WantedVersion, obeyed: Obeyed | None) -> None:
    """Check that an order that is being obeyed was not overtaken meanwhile.

    Raises:
        StaleGeneration: it was.
    """
    if obeyed is None or obeyed != Obeyed.of(wanted):
        newer = obeyed.generation if obeyed is not None else "nothing"
        raise StaleGeneration(
            f"{wanted.service} {wanted.version}: generation {wanted.generation} was overtaken by "
            f"{newer}"
        )


def _stale(service: str, version: str, generation: int, obeyed: Obeyed) -> StaleGeneration:
    did = "taken down" if obeyed.down else "put up"
    return StaleGeneration(
        f"{service} {version}: generation {generation} is refused; it was {did} by generation "
        f"{obeyed.generation}, expected a larger one"
    )
