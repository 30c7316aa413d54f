"""What marks everything that Aviary makes in a cluster, and what it is called.

Nothing without the label of this owner is touched. Labels hold what is asked by, annotations the
rest and what no label can hold.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from typing import Any, Final

from schemas.deployment import WantedVersion

OWNER: Final = "aviary.dev/owner"
SERVICE: Final = "aviary.dev/service"
VERSION: Final = "aviary.dev/version"
"""A label, and an annotation, which has it as it is."""
MADE_OF: Final = "aviary.dev/made-of"
RELEASE: Final = "aviary.dev/release"
GENERATION: Final = "aviary.dev/generation"
ORDER: Final = "aviary.dev/order"
ORDERED: Final = "aviary.dev/ordered"
"""The whole order, on the object that outlives a version."""
WANTED: Final = "aviary.dev/wanted"
KEEP: Final = "aviary.dev/keep-versions"
PORT: Final = "aviary.dev/port"
AUTOSCALED: Final = "aviary.dev/autoscaled"
DOWN: Final = "aviary.dev/down"
"""`true`, of a version that was taken down and is kept without pods."""
PART: Final = "aviary.dev/part"
"""`fence`, of the object that outlives a version."""

DELETION_COST: Final = "controller.kubernetes.io/pod-deletion-cost"

_VALUE: Final = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?", re.ASCII)
_PLAIN: Final = re.compile(r"[a-z0-9]+(\.[a-z0-9]+)*", re.ASCII)
_LONGEST: Final = 52
"""Of a name: 63 less what a ReplicaSet and its pods are given besides."""
_DIGEST: Final = 8
_MOST: Final = 10**18


def value(text: str) -> str:
    """A text as the value of a label; one that can't be one has a digest that tells it apart."""
    if _VALUE.fullmatch(text):
        return text
    plain = re.sub(r"[^A-Za-z0-9._-]", "-", text).strip("._-")[:40].strip("._-")
    return f"{plain or 'x'}.{_digest(text)}"


def name_of(service: str, version: str) -> str:
    """Of a version's Deployment and Service, such as `checkout-1-4-2`: a DNS label.

    Two versions never have the same: where a letter or a mark has to give way, a digest follows.
    """
    plain = version.replace(".", "-").strip("-")
    start = service if service[0].isalpha() else f"v-{service}"
    name = f"{start}-{plain}"
    if _PLAIN.fullmatch(version) and len(name) <= _LONGEST:
        return name
    plain = re.sub(r"[^a-z0-9]+", "-", version.lower()).strip("-")
    head = f"{start[:30]}-{plain}"[: _LONGEST - _DIGEST - 1].rstrip("-")
    return f"{head}-{_digest(f'{service}/{version}')}"


def of(owner: str, service: str, version: str | None = None) -> dict[str, str]:
    """The labels of what is made for a version, or for any of a service."""
    found = {OWNER: value(owner), SERVICE: service}
    return found | ({VERSION: value(version)} if version is not None else {})


def selector(labels: Mapping[str, str]) -> str:
    """Labels as a list is asked by."""
    return ",".join(f"{name}={text}" for name, text in labels.items())


def matching(owner: str, service: str | None = None, version: str | None = None) -> str:
    """A selector of what this owner has: all, of a service, or of a version."""
    if service is None:
        return selector({OWNER: value(owner)})
    return selector(of(owner, service, version))


def annotations_of(wanted: WantedVersion) -> dict[str, str]:
    """What is written on a version's Deployment about the order that it obeys."""
    return {
        VERSION: wanted.version,
        RELEASE: wanted.release,
        GENERATION: str(wanted.generation),
        WANTED: str(wanted.instances),
        DOWN: "false",
    }


def said(thing: Mapping[str, Any], kind: str = "annotations") -> Mapping[str, str]:
    """The annotations, or the `labels`, of an object."""
    about = thing.get("metadata")
    found = about.get(kind) if isinstance(about, dict) else None
    return found if isinstance(found, dict) else {}


def number(thing: Mapping[str, Any], name: str) -> int:
    """An annotation that is a number; 0 if it is none."""
    text = str(said(thing).get(name, ""))
    return min(int(text), _MOST) if text.isascii() and text.isdigit() and len(text) < 20 else 0  # noqa: PLR2004 - digits of _MOST


def whose(thing: Mapping[str, Any]) -> tuple[str, str]:
    """The service and the version of an object of ours."""
    return str(said(thing, "labels").get(SERVICE, "")), str(said(thing).get(VERSION, ""))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:_DIGEST]
