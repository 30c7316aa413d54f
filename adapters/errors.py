"""What can go wrong outside, in two kinds.

    AdapterError
    ├── Retryable        the same call may succeed later: a time-out, a refused connection, a 503
    └── Terminal         the same call can never succeed: it must not be retried
        ├── UnknownRoute      the router has no such service or version
        └── StaleGeneration   the route has moved on: somebody newer has written (fencing)

An adapter maps every failure of its client library to one of these. The text of an error never
holds a secret. Activities turn `Terminal` into a non-retryable application error of the same name.
"""

from __future__ import annotations


class AdapterError(Exception):
    """Base of every failure an adapter reports."""


class Retryable(AdapterError):  # noqa: N818 - the kind is the name
    """The same call may succeed later."""


class Terminal(AdapterError):  # noqa: N818 - the kind is the name
    """The same call can never succeed; it must not be retried."""


class UnknownRoute(Terminal):
    """The router has no such service, or no such version of it."""


class StaleGeneration(Terminal):
    """A write whose generation is not larger than what is applied, and not that same write."""
