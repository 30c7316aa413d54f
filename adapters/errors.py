"""What can go wrong outside, in two kinds.

    AdapterError
    ├── Retryable        the same call may succeed later: a time-out, a refused connection, a 503
    │   └── Unanswered        a metrics source gave no answer that can be used
    └── Terminal         the same call can never succeed: it must not be retried
        ├── WrongQuery        a metrics source says that the query is wrong
        ├── UnknownRoute      the router has no such service or version
        ├── Unsupported       the route asks for what this router can't do
        ├── ForeignChange     somebody else has changed what was applied
        │   └── HalfWritten   and another router of the service has the new route already
        ├── UnknownVersion    the deployer has no such version up
        ├── StillInUse        the route names the version that shall be taken down
        └── StaleGeneration   somebody newer has written, or ordered (fencing)

An adapter maps every failure of its client library to one of these. The text of an error never
holds a secret. Activities turn `Terminal` into a non-retryable application error of the same name.
"""

from __future__ import annotations

from typing import Self

from schemas.reading import Fault


class AdapterError(Exception):
    """Base of every failure an adapter reports."""


class Retryable(AdapterError):  # noqa: N818 - the kind is the name
    """The same call may succeed later."""


class Terminal(AdapterError):  # noqa: N818 - the kind is the name
    """The same call can never succeed; it must not be retried."""


class UnknownRoute(Terminal):
    """The router has no such service, or no such version of it."""


class Unsupported(Terminal):
    """A route asks for what this router can't do; nothing was written, and nothing is rounded."""


class ForeignChange(Terminal):
    """Somebody else has changed a route: a person, GitOps, another controller. Nothing was written.

    Args:
        service: whose route it is.
        what: was found, and what was expected, for a person.
        who: did it, where that can be known.
    """

    def __init__(self, service: str, what: str, who: str = "") -> None:
        super().__init__(f"{service}: {who or 'somebody else'} changed its route: {what}")
        self.who = who

    @classmethod
    def of_text(cls, text: str) -> Self:
        """The error that was told as a text before."""
        error = cls("", "")
        error.args = (text,)
        return error


class HalfWritten(ForeignChange):
    """The same of one of several routers, when another one has the new route already."""


class UnknownVersion(Terminal):
    """The deployer has no such version up."""


class StillInUse(Terminal):
    """The route names the version that shall be taken down; nothing was touched."""


class StaleGeneration(Terminal):
    """A write or order with a generation not larger than what was obeyed, and not that same one."""


class Unanswered(Retryable):
    """A metrics source gave no answer that can be used, and why."""

    def __init__(self, text: str, fault: Fault) -> None:
        super().__init__(text)
        self.fault = fault


class WrongQuery(Terminal):
    """A metrics source says that the query is wrong, or it answers what no instant vector is."""

    def __init__(self, text: str, fault: Fault = Fault.WRONG_QUERY) -> None:
        super().__init__(text)
        self.fault = fault


def fault_of(error: Exception) -> Fault:
    """The kind of fault, of an adapter that tells them apart."""
    return error.fault if isinstance(error, Unanswered | WrongQuery) else Fault.OTHER
