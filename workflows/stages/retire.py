"""Have the version that was stable taken down once it was kept long enough: nothing waits here."""

from __future__ import annotations

from typing import Final

from temporalio import workflow

with workflow.unsafe.imports_passed_through():
    from schemas.stages import RetireStage
    from workflows.calls import Call
    from workflows.instances import kept
    from workflows.outcomes import DONE, Outcome
    from workflows.stages.context import Context, StageKind


async def do(context: Context, _: RetireStage) -> Outcome:
    """Hand the version before over to a retirement, which keeps it for `keep_old`."""
    await retire_before(context)
    return DONE


async def retire_before(context: Context) -> None:
    """Likewise; nothing where the version before is not known, or is this one."""
    plan, old = context.start.plan, context.traffic.before
    if not context.instances.ours or old in {None, plan.version}:
        return
    await context.instances.remember(str(old))
    keep = context.instances.terms.keep_old
    why = f"{plan.version} took its place by release {context.start.release}{kept(keep)}"
    await context.instances.retire(str(old), workflow.now() + keep, why)


KIND: Final = StageKind(do=do, calls=frozenset({Call.RECALL}), most_events=15)
