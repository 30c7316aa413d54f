"""Trouble that may pass: it is told and waited for, until the caller gives up."""

from __future__ import annotations

from typing import Any, Final

from adapters.kubernetes.errors import Conflicted, Denied
from schemas.deployment import Trouble
from schemas.outside import one_line

_MISSING: Final = ("not found", "manifest unknown", "does not exist", "name unknown")
_SPACE: Final = ("no space left on device", "DiskPressure")


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


def of_denied(error: Denied) -> TroubledError:
    """What a quota's or an admission controller's no means."""
    return TroubledError(Trouble.QUOTA if error.by_quota else Trouble.WRONG_RECIPE, str(error))


def of_conflict(error: Conflicted, name: str) -> TroubledError:
    """Something of somebody else has the name."""
    return TroubledError(Trouble.NAME_TAKEN, f"{name} is not Aviary's, or was changed: {error}")


def of_failed_create(message: Any) -> TroubledError:
    """Why the cluster does not let pods be made, as their ReplicaSet says."""
    text = one_line(str(message or ""))
    return TroubledError(
        Trouble.QUOTA if "exceeded quota" in text or "quota" in text else Trouble.WRONG_RECIPE,
        f"pods are refused: {text}",
    )


def of_waiting(reason: str, message: str) -> Trouble | None:
    """What a container waits for; None: only for its turn."""
    if "Image" in reason or reason == "RegistryUnavailable":
        low = message.lower()
        if any(word.lower() in low for word in _SPACE):
            return Trouble.NO_SPACE
        return (
            Trouble.IMAGE_MISSING
            if any(word in low for word in _MISSING)
            else (Trouble.PULL_FAILED)
        )
    if reason in {"CreateContainerConfigError", "CreateContainerError", "RunContainerError"}:
        return Trouble.WRONG_RECIPE
    return Trouble.CRASH_LOOP if reason == "CrashLoopBackOff" else None
