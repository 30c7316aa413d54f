"""Trouble that may pass: it is told and waited for, until the caller gives up."""

from __future__ import annotations

from schemas.deployment import Trouble


class TroubledError(Exception):
    """Why a version can't be put up just now.

    Args:
        trouble: of the closed set.
        text: which, and why, for a person.
    """

    def __init__(self, trouble: Trouble, text: str) -> None:
        super().__init__(text)
        self.trouble = trouble
        self.text = text


_SPACE = ("no space left on device", "disk quota exceeded")
_DENIED = (
    "unauthorized",
    "denied",
    "authentication required",
    "no basic auth credentials",
)
_MISSING = ("manifest unknown", "not found", "does not exist", "no such image", "name unknown")
_WRONG = (
    "executable file not found",
    "no such file or directory",
    "permission denied",
    "exec format error",
    "not a directory",
    "is a directory",
    "unable to find user",
    "no matching entries in passwd",
    "unknown log opt",
    "no such logging driver",
    "invalid mount",
    "read-only file system",
)


def of_pull(image: str, text: str) -> TroubledError:
    """What a registry's, or the daemon's, no to a pull means."""
    low = text.lower()
    what = f"{image} can't be pulled: {text}"
    if any(word in low for word in _SPACE):
        return TroubledError(Trouble.NO_SPACE, what)
    if any(word in low for word in _DENIED):
        return TroubledError(Trouble.PULL_FAILED, what)
    if any(word in low for word in _MISSING):
        return TroubledError(Trouble.IMAGE_MISSING, f"{image} is not there: {text}")
    return TroubledError(Trouble.PULL_FAILED, what)


def of_start(container: str, text: str) -> TroubledError:
    """What the daemon's no to making or starting a container means."""
    low, what = text.lower(), f"{container} can't be started: {text}"
    if any(word in low for word in _SPACE):
        return TroubledError(Trouble.NO_SPACE, what)
    if "no such image" in low:
        return TroubledError(Trouble.IMAGE_MISSING, what)
    if any(word in low for word in _WRONG) or ("network" in low and "not found" in low):
        return TroubledError(Trouble.WRONG_RECIPE, what)
    return TroubledError(Trouble.OTHER, what)


def is_port_taken(text: str) -> bool:
    """Whether a start failed since somebody else has the port."""
    low = text.lower()
    return "port is already allocated" in low or "address already in use" in low
