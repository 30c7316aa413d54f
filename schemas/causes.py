"""Why something went back. Plain words: the command line offers them as choices."""

from __future__ import annotations

from enum import StrEnum


class CauseKind(StrEnum):
    """Why something went back; a closed set, the same in logs, metrics, notices and events."""

    VERDICT = "verdict"
    ALERT = "alert"
    COMMAND = "command"
    HOOK = "hook"
    """A hook said no, or did not answer in time."""
    CANCELLED = "cancelled"
    BUSY = "busy"
    """Another release has the same service, and the catalog says `reject`."""
    ROUTER = "router"
    """The router refused a write for good."""
    ERROR = "error"
    """An activity failed for good."""
    NOT_READY = "not_ready"
    """A router does not know a service, or its new version has no instances, or not in time; no
    request was moved."""
    SUPERSEDED = "superseded"
    """A newer release of the same services takes its place, or asks for what was stable before."""
    LEASE = "lease"
    """The sentinel took it back, while nothing of its release was to be seen."""
    RELEASE = "release"
    """Another service of the same release went back."""
