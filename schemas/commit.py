"""The commit that a release is made of, as the labels of its deploy event say it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

LABELS: Final = ("repository", "commit", "ref")
"""Names of the labels that say it."""
COMMITTED: Final = "commit_time"
"""Name of the label that says when it was committed, as ISO 8601 with its offset."""
_REPOSITORY: Final = re.compile(r"[A-Za-z0-9_.-]{1,100}(/[A-Za-z0-9_.-]{1,100}){1,10}")
_SHA: Final = re.compile(r"[0-9a-f]{40}([0-9a-f]{24})?")
_REF: Final = re.compile(r"[A-Za-z0-9_./+-]{1,200}")
_STEPS: Final = frozenset({".", ".."})


@dataclass(frozen=True)
class Commit:
    """One commit."""

    repository: str
    """Its owner and name, as `acme/shop`."""
    sha: str
    ref: str = ""
    """Branch or tag, where the labels say it."""


def commit_of(labels: Mapping[str, str]) -> Commit | None:
    """The commit that labels name; None where they name none, or not as a platform does."""
    repository, sha, ref = (labels.get(name, "") for name in LABELS)
    if not _REPOSITORY.fullmatch(repository) or not _STEPS.isdisjoint(repository.split("/")):
        return None
    if not _SHA.fullmatch(sha):
        return None
    return Commit(repository, sha, ref if _REF.fullmatch(ref) else "")


def of_commit(labels: Mapping[str, str]) -> dict[str, str]:
    """Those of a release's labels that say its commit; none where they don't."""
    if commit_of(labels) is None:
        return {}
    return {name: labels[name] for name in LABELS if name in labels}


def committed_at(labels: Mapping[str, str]) -> datetime | None:
    """When the commit was made; None where the labels don't say, or not with an offset."""
    try:
        at = datetime.fromisoformat(labels.get(COMMITTED, ""))
    except ValueError:
        return None
    return at if at.tzinfo is not None else None
