"""Every kind of stage in a plan, from the stage table alone: what is added there is met here."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from pydantic import TypeAdapter
from temporalio.client import WorkflowUpdateFailedError
from temporalio.service import RPCError

from schemas.release import Command
from schemas.stages import KINDS, Stage, When
from schemas.waits import asks_people, ends
from tests.workflows.kit import Release, World

_STAGE: TypeAdapter[Stage] = TypeAdapter(Stage)
_ORDER = list(KINDS)


def example(kind: str) -> Stage:
    """A stage of this kind that does something: the example of its schema, or all defaults."""
    examples = KINDS[kind].model_json_schema().get("examples", [{"kind": kind}])
    return _STAGE.validate_python(examples[0])


def met(stages: tuple[Stage, ...], kind: str) -> bool:
    """Whether a stage of this kind is there, and says all that its example says."""
    wanted = example(kind).model_fields_set
    return KINDS[kind].when is not When.UNROUTED and any(
        one.kind == kind and all(getattr(one, field) is not None for field in wanted)
        for one in stages
    )


def unmet(stages: tuple[Stage, ...]) -> list[str]:
    """The kinds that a routed service with these stages never comes to."""
    return [kind for kind in KINDS if not met(stages, kind)]


def with_stage(stages: tuple[Stage, ...], kind: str) -> tuple[Stage, ...]:
    """The stages, with one of this kind at its place where it is not met."""
    if met(stages, kind) or any(one == example(kind) for one in stages):
        return stages
    following = _ORDER[_ORDER.index(kind) + 1 :]
    at = next((at for at, one in enumerate(stages) if one.kind in following), len(stages))
    return (*stages[:at], example(kind), *stages[at:])


def prepare(world: World, kind: str, *services: str) -> None:
    """Give the world what a kind of stage is done in."""
    if KINDS[kind].when is When.UNROUTED:
        for service in services:
            world.router.forget(service)
    world.judge.ramp_weights = [1]


async def answered(release: Release) -> None:
    """Say to each wait for a person what ends it, until the release has ended."""
    while not (status := await release.status()).phase.closed:
        for one in status.services:
            for kind in ends(one)[:1] if asks_people(one) else ():
                command = Command(by="ann", service=one.service)
                with suppress(WorkflowUpdateFailedError, RPCError):  # it has gone on meanwhile
                    await release.handle.execute_update(kind, command)
        await asyncio.sleep(0.02)
