"""A template as a watcher reads it: which service it is of, and which version it asks for.

All of it is a function of the object: a watcher that has just begun, and one beside it, read the
same. What can't be used says which field, what it has, and what was expected.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import TypeAdapter, ValidationError

from adapters.errors import Terminal
from adapters.kubernetes.resources import Json
from adapters.kubernetes.templates import HOW, main_container
from schemas.base import ReleaseId, ServiceName, Version
from schemas.deployment import ImageName
from schemas.rejection import show

SERVICE: Final = "aviary.dev/service"
VERSION: Final = "aviary.dev/version"
RELEASE: Final = "aviary.dev/release"
REVISION: Final = "aviary.dev/revision"
"""Annotations that a team may write on a template."""

_TOOLS: Final = (
    "aviary.dev/",
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "config.kubernetes.io/",
    "kubectl.kubernetes.io/last-applied-configuration",
)
"""Annotations of pods that begin so say nothing of the pods."""
_TAG: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,127}", re.ASCII)
_SUM: Final = re.compile(r"sha(?:256|512):([0-9a-f]{64,128})", re.ASCII)
_DIGEST: Final = 8
_LONGEST_TAG: Final = 100
_REVISION_MOST: Final = 500
_SERVICE_NAME: Final[TypeAdapter[str]] = TypeAdapter(ServiceName)
_VERSION_NAME: Final[TypeAdapter[str]] = TypeAdapter(Version)
_RELEASE_NAME: Final[TypeAdapter[str]] = TypeAdapter(ReleaseId)
_IMAGE_NAME: Final[TypeAdapter[str]] = TypeAdapter(ImageName)


class UnusableError(ValueError):
    """A template can't be acted upon as it is.

    Args:
        field: of the object.
        got: its value.
        expected: in words.
    """

    def __init__(self, field: str, got: Any, expected: str) -> None:
        super().__init__(f"{field}: got {show(got)}, expected {expected}")


@dataclass(frozen=True)
class Reference:
    """Which object, and which state of it."""

    kind: str
    """Deployment, or PodTemplate."""
    name: str
    uid: str
    generation: int
    """Of its specification; grows with each change."""

    def __str__(self) -> str:
        return f"{self.kind} {self.name}"

    @property
    def mark(self) -> str:
        """What tells this state from every other of any object."""
        return f"{self.uid}/{self.generation}"


@dataclass(frozen=True)
class Key:
    """What templates must have in common to go out together."""

    word: str = ""
    """Of a release, or of a commit; empty where only the time joins them."""
    is_release: bool = False


@dataclass(frozen=True)
class Template:
    """What one state of a template asks for."""

    of: Reference
    service: str
    version: str
    image: str
    made_of: str
    """The digest of all that a version takes of it."""
    key: Key = Key()
    replicas: int = 0


def reference_of(thing: Json) -> Reference:
    """Which object it is."""
    about = thing.get("metadata") or {}
    generation = about.get("generation")
    return Reference(
        kind=str(thing.get("kind")),
        name=str(about.get("name")),
        uid=str(about.get("uid")),
        generation=generation if type(generation) is int else 0,
    )


def annotations_of(thing: Json) -> Mapping[str, str]:
    """The annotations of an object."""
    found = (thing.get("metadata") or {}).get("annotations")
    return found if isinstance(found, dict) else {}


def service_of(thing: Json) -> str:
    """The service that a template is of: by its annotation, or else by its name.

    Raises:
        UnusableError: it is no name of a service.
    """
    said = annotations_of(thing)
    name, field = str((thing.get("metadata") or {}).get("name")), "metadata.name"
    if SERVICE in said:
        name, field = said[SERVICE], f"metadata.annotations[{SERVICE}]"
    expected = f"a service: a DNS label of at most 63, here or in the annotation {SERVICE}"
    return _checked(_SERVICE_NAME, name, field, expected)


def read_template(
    thing: Json, service: str, container: str | None, revisions: tuple[str, ...] = (REVISION,)
) -> Template:
    """What a template asks for.

    Args:
        thing: the object, a Deployment or a PodTemplate.
        service: whose it is.
        container: the one whose image is the version's, as the catalog has it.
        revisions: annotations that name a commit, the first that is there.

    Raises:
        UnusableError: it can't be acted upon.
    """
    deployed = thing.get("spec") or {} if thing.get("kind") == "Deployment" else {}
    pods = (deployed or thing).get("template") or {}
    image = _image(pods, service, container)
    made_of = _digest(pods, deployed, revisions)
    replicas = deployed.get("replicas", 0)
    return Template(
        of=reference_of(thing),
        service=service,
        version=_version(annotations_of(thing), image, made_of),
        image=image,
        made_of=made_of,
        key=_key(annotations_of(thing), revisions),
        replicas=replicas if type(replicas) is int else 0,
    )


def _image(pods: Json, service: str, container: str | None) -> str:
    try:
        found = main_container(pods, service, container).get("image")
    except Terminal as error:
        raise UnusableError("spec.template.spec.containers", "none of them", str(error)) from None
    field = "spec.template.spec.containers[].image"
    return _checked(_IMAGE_NAME, found, field, "an image, with a tag or a digest")


def _version(said: Mapping[str, str], image: str, made_of: str) -> str:
    """The version: the annotation, or else the image's tag and what tells its specification."""
    if VERSION in said:
        field = f"metadata.annotations[{VERSION}]"
        return _checked(_VERSION_NAME, said[VERSION], field, "a version such as 1.4.2")
    name, _, digest = image.partition("@")
    tag = name.rpartition("/")[2].partition(":")[2]
    found = _SUM.fullmatch(digest)
    if (digest and not found) or (tag and not _TAG.fullmatch(tag)) or not (tag or found):
        field = "spec.template.spec.containers[].image"
        raise UnusableError(field, image, "a tag that begins with a letter or digit, or a digest")
    short = tag or (found[1][:12] if found else "")
    return f"{short[:_LONGEST_TAG]}-{made_of[:_DIGEST]}"


def _digest(pods: Json, deployed: Json, revisions: tuple[str, ...]) -> str:
    """Of all that a version takes of a template; marks of tools are none of it."""
    about = pods.get("metadata") or {}
    kept = {
        name: text
        for name, text in (about.get("annotations") or {}).items()
        if not name.startswith(_TOOLS) and name not in revisions
    }
    content = {
        "labels": about.get("labels") or {},
        "annotations": kept,
        "spec": pods.get("spec"),
        **{name: deployed.get(name) for name in HOW},
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()[:16]


def _key(said: Mapping[str, str], revisions: tuple[str, ...]) -> Key:
    if RELEASE in said:
        field = f"metadata.annotations[{RELEASE}]"
        expected = "the id of a release: letters, digits and . _ -, at most 128"
        return Key(_checked(_RELEASE_NAME, said[RELEASE], field, expected), is_release=True)
    found = next((said[name] for name in revisions if said.get(name)), "")
    if len(found) > _REVISION_MOST:
        raise UnusableError("metadata.annotations", found, "a revision of at most 500 characters")
    return Key(found)


def _checked(kind: TypeAdapter[str], value: Any, field: str, expected: str) -> str:
    try:
        return kind.validate_python(value)
    except ValidationError:
        raise UnusableError(field, value, expected) from None
