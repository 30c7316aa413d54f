"""How what is asked of releases fails: a text for people, and the exit code of a command."""

from __future__ import annotations

from enum import IntEnum

from schemas.outside import one_line, visible


class ExitCode(IntEnum):
    """What the command line ends with; documented in `docs/reference/cli.md`."""

    OK = 0
    FAILURE = 1
    """A server can't be reached, or it refused."""
    BAD_INPUT = 2
    """An option, a document or an event is wrong."""
    ROLLED_BACK = 3
    """`release watch`, `deploy`: the release went back."""
    NOT_FOUND = 4
    """There is no such release; `deploy`: none has come of the event in time."""
    WAITING = 5
    """`deploy --until person`: the release waits for a person."""
    TIMED_OUT = 6
    """`deploy`: the time is over; the release goes on."""
    INTERRUPTED = 130
    """`release watch`: Ctrl-C; the release goes on."""


class CommandError(Exception):
    """Ends a command with a text for stderr and an exit code.

    The text is one line: what would break it is shown as a blank, unless it was made with `lines`.
    """

    def __init__(self, code: ExitCode, text: str, *, lines: bool = False) -> None:
        """Keep both."""
        super().__init__(text)
        self.code = code
        self.text = visible(text, lines=True) if lines else one_line(text)


class UnansweredError(CommandError):
    """Nobody answers now: a worker or Temporal is away, and may come back."""
