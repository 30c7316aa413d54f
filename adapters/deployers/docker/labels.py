"""What marks everything that Aviary makes on a host; nothing without it is touched."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from schemas.deployment import WantedVersion

MANAGED: Final = "aviary.managed"
OWNER: Final = "aviary.owner"
SERVICE: Final = "aviary.service"
VERSION: Final = "aviary.version"
RELEASE: Final = "aviary.release"
GENERATION: Final = "aviary.generation"
WANTED: Final = "aviary.wanted"
ORDER: Final = "aviary.order"
ORDERED: Final = "aviary.ordered"
INSTANCE: Final = "aviary.instance"
RECIPE: Final = "aviary.recipe"
PORT: Final = "aviary.port"
HOST_PORT: Final = "aviary.host-port"
REACH: Final = "aviary.reach"
SECRETS: Final = "aviary.secrets"
KEY: Final = "aviary.key"

INSTANCE_KIND: Final = "instance"
RUN_KIND: Final = "run"
FENCE_KIND: Final = "fence"

GOING: Final = "-going"
"""End of the name of an instance that is told to end: a label can't be changed, a name can."""

_LONGEST: Final = 64
_MOST: Final = 10**18


def of(kind: str, owner: str, wanted: WantedVersion) -> dict[str, str]:
    """The labels of something made for a version."""
    return {
        MANAGED: kind,
        OWNER: owner,
        SERVICE: wanted.service,
        VERSION: wanted.version,
        RELEASE: wanted.release,
        GENERATION: str(wanted.generation),
    }


def matching(
    owner: str, service: str | None = None, version: str | None = None, kind: str = ""
) -> list[str]:
    """Labels to list by."""
    found = [f"{OWNER}={owner}", f"{MANAGED}={kind}" if kind else MANAGED]
    found += [f"{SERVICE}={service}"] if service is not None else []
    return found + ([f"{VERSION}={version}"] if version is not None else [])


def bears(thing: Mapping[str, Any], wanted: Sequence[str]) -> bool:
    """Whether it has all of the labels that it was listed by.

    A daemon may list what has any of them, as Podman does with volumes.
    """
    said = labels_of(thing)
    parts = [one.partition("=") for one in wanted]
    return all(said.get(name) == value if given else name in said for name, given, value in parts)


def labels_of(thing: Mapping[str, Any]) -> Mapping[str, str]:
    """The labels of a container or a volume, however it was asked for."""
    inner = thing.get("Config")
    found = inner.get("Labels") if isinstance(inner, dict) else thing.get("Labels")
    return found if isinstance(found, dict) else {}


def is_going(container: Mapping[str, Any]) -> bool:
    """Whether one of a list of containers was told to end."""
    names = container.get("Names")
    return isinstance(names, list) and any(str(one).endswith(GOING) for one in names)


def number(labels: Mapping[str, str], name: str) -> int:
    """A label that is a number; 0 if it is none."""
    text = labels.get(name, "")
    return min(int(text), _MOST) if text.isascii() and text.isdigit() and len(text) < 20 else 0  # noqa: PLR2004 - digits of _MOST


def is_same(thing: Mapping[str, Any], kind: str, owner: str, service: str, version: str) -> bool:
    """Whether something is ours, and of that version."""
    labels = labels_of(thing)
    said = (labels.get(MANAGED), labels.get(OWNER), labels.get(SERVICE), labels.get(VERSION))
    return said == (kind, owner, service, version)


def name_of(prefix: str, service: str, version: str, tail: str) -> str:
    """A container's name, such as `aviary-checkout-1.4.2-1`.

    What Docker does not take in a name is a hyphen, and a digest of the version tells it apart from
    others that would be written so.
    """
    plain = re.sub(r"[^A-Za-z0-9_.-]", "-", version)
    if plain != version or len(plain) > _LONGEST:
        plain = f"{plain[: _LONGEST - 9]}-{hashlib.sha256(version.encode()).hexdigest()[:8]}"
    return f"{prefix}-{service}-{plain}-{tail}"
