"""Package URLs, as CDEvents name artifacts: the version of one, and its image."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import parse_qs, unquote

from pydantic import TypeAdapter, ValidationError

from schemas.deployment import ImageName

# The version follows the last @: names of npm begin with one, which few writers escape.
_PURL: Final = re.compile(
    r"(?i:pkg):[^?#]+?(@(?P<version>[^@/?#]+))?(\?(?P<qualifiers>[^#]*))?(#.*)?"
)
_IMAGE: Final[TypeAdapter[str]] = TypeAdapter(ImageName)


def version_of(purl: str) -> str:
    """Its `tag` for an image named by digest, else what follows the `@`; empty where it has none.

    What is no package URL has none.
    """
    version, tag, _ = _parts(purl)
    return tag if tag and (":" in version or not version) else version


def image_of(purl: str) -> str | None:
    """The image that a package URL of type `oci` names with its `repository_url`.

    By digest where it has one. None where it names no image, or no repository.
    """
    version, tag, repository = _parts(purl)
    if not repository or not purl.lower().startswith("pkg:oci/"):
        return None
    name = repository.removeprefix("https://").rstrip("/")
    image = f"{name}@{version}" if ":" in version else f"{name}:{version or tag}"
    try:
        return _IMAGE.validate_python(image)
    except ValidationError:
        return None


def _parts(purl: str) -> tuple[str, str, str]:
    """Version, tag and repository of a package URL, each empty where it has none."""
    found = _PURL.fullmatch(purl)
    if found is None:
        return "", "", ""
    qualifiers = parse_qs(found["qualifiers"] or "")
    first = {name: values[0] for name, values in qualifiers.items()}
    return unquote(found["version"] or ""), first.get("tag", ""), first.get("repository_url", "")
