"""Names of the Services of versions: labels of DNS, which most versions are not.

`1.4.2` of checkout is `checkout-1-4-2`. A version whose name can't be read back from that, or is
too long, has a digest at its end, so that two versions never have one name.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Final

SERVICE: Final = "{service}"
VERSION: Final = "{version}"
TEMPLATE: Final = f"{SERVICE}-{VERSION}"
APART: Final = "-apart"
"""Ends the name of the twin of a version's Service."""
_PLAIN: Final = re.compile(r"[a-z0-9]+(\.[a-z0-9]+)*", re.ASCII)
_OTHER: Final = re.compile(r"[^a-z0-9]+", re.ASCII)
_LONGEST: Final = 52
"""Of a version's own name: a Deployment of the same one gives its pods longer ones."""
_DIGEST: Final = 8
_HEAD: Final = 30


def object_name(service: str, version: str, template: str = TEMPLATE) -> str:
    """Name of what stands for one version: `checkout-1-4-2`, at most 52 characters.

    Args:
        service: a label of DNS; one that begins with a digit gets `v-` before it.
        version: as a deploy event names it.
        template: with `{version}`, perhaps with `{service}`.
    """
    start = service if service[0].isalpha() else f"v-{service}"
    slug = _OTHER.sub("-", version.lower()).strip("-")
    name = template.replace(SERVICE, start).replace(VERSION, slug)
    if _PLAIN.fullmatch(version) and len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(f"{service}/{version}".encode()).hexdigest()[:_DIGEST]
    whole = template.replace(SERVICE, start[:_HEAD]).replace(VERSION, slug)
    return f"{whole[: _LONGEST - _DIGEST - 1].rstrip('-')}-{digest}"


@dataclass(frozen=True)
class Backends:
    """The Services that the requests of one service go to."""

    service: str
    """Of the catalog."""
    base: str
    """The Service that callers use, which routes name before Aviary has written any."""
    template: str = TEMPLATE
    """Of the name of a version's Service."""
    apart: bool = False
    """Whether each has a twin for what no split sends there, so that it is counted apart."""

    def of(self, version: str) -> str:
        """Name of the Service of a version."""
        return object_name(self.service, version, self.template)

    def apart_of(self, version: str) -> str:
        """Name of the Service for requests that no split sends to the version."""
        return f"{self.of(version)}{APART}" if self.apart else self.of(version)
