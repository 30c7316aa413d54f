"""How a command fails: one line on stderr and a documented exit code, never a traceback."""

from __future__ import annotations

import re
from typing import Any, Final

import typer
from typer.core import TyperGroup

from aviary.cli.border import echo
from aviary.releases.failing import CommandError as CommandError  # noqa: PLC0414 - public here
from aviary.releases.failing import ExitCode as ExitCode  # noqa: PLC0414
from aviary.releases.failing import UnansweredError as UnansweredError  # noqa: PLC0414
from schemas.phases import CanaryPhase

_NOT_ONE_OF = re.compile(r"'([^']*)' is not one of (.+)", re.DOTALL)
_HINTED = re.compile(r"; (?:did you mean|services are)")
_OF_SERVICES = {phase.value for phase in CanaryPhase if phase.about.asks}
"""States that people see of services, and ask releases for."""


MEANT: Final = {
    word: meant
    for meant, words in {
        ("rollback",): "abort stop cancel kill terminate end halt quit reject deny fail rm",
        ("rollback", "revert"): "undo back restore delete remove",
        ("approve", "skip"): "promote advance finish complete full finalize finalise force",
        ("approve",): "ok yes confirm accept allow open",
        ("resume",): "continue unpause go proceed unfreeze unhold unsuspend",
        ("pause",): "hold freeze suspend",
        ("skip",): "next step",
        ("start",): "deploy create run new apply submit trigger launch begin rollout",
        ("start", "revert"): "retry restart rerun redo",
        ("list",): "ls ps releases pending",
        ("status",): "show get describe info inspect stat",
        ("watch",): "follow tail wait",
        ("explain",): "history why log logs events",
    }.items()
    for word in words.split()
}
"""Words of other tools, and the commands of `aviary release` that do what they mean."""


_OWN: Final = {word: (word,) for meant in MEANT.values() for word in meant}


class Group(TyperGroup):
    """Turns the errors that users cause into a text on stderr and an exit code."""

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command; for a word of another tool, name the one that is meant."""
        word = args[0] if args else ""
        if self.get_command(ctx, word) is None:
            meant = (MEANT | _OWN).get(word.lower())
            if meant is not None:
                path = ctx.command_path.removesuffix(" release")
                told = " or ".join(f"`{path} release {one}`" for one in meant)
                raise CommandError(ExitCode.BAD_INPUT, f"{word}: try {told}")
        return super().resolve_command(ctx, args)

    def invoke(self, ctx: Any) -> Any:
        """Run the command that was asked for."""
        try:
            return super().invoke(ctx)
        except typer.BadParameter as error:
            error.message = _with_hint(error.message)
            raise
        except CommandError as error:
            raise _ended(error.text, error.code) from None
        except ValueError as error:
            if isinstance(error, _bad_input()):
                raise _ended(str(error), ExitCode.BAD_INPUT) from None
            raise


def _with_hint(message: str) -> str:
    """With the closest of the words that an option takes, where another one was given.

    A group within a group sees the same error, and has nothing to add.
    """
    found = _NOT_ONE_OF.search(message)
    if found is None or _HINTED.search(message):
        return message
    from schemas.catalog_check import nearest  # noqa: PLC0415 - only when something is wrong

    hint = nearest(found[1], re.findall(r"'([^']+)'", found[2]))
    if found[1].lower() in _OF_SERVICES:
        hint = "; services are that, not releases: --waiting lists what waits for a person"
    return found[0].rstrip(".") + hint


def _ended(text: str, code: ExitCode) -> typer.Exit:
    echo(text, err=True)
    return typer.Exit(int(code))


def _bad_input() -> tuple[type[ValueError], ...]:
    """Errors that mean a wrong document, event or setting; imported only when one is at hand."""
    from aviary.settings import SettingsError  # noqa: PLC0415
    from schemas.catalog_file import CatalogError  # noqa: PLC0415
    from schemas.rejection import Rejected  # noqa: PLC0415
    from workflows.planning import PlanError  # noqa: PLC0415

    return CatalogError, PlanError, Rejected, SettingsError
