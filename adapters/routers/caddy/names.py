"""Names of Caddy's sites for versions: their hosts, which its metrics have as label `host`.

The pool of a version is `<service>_<version>`: no service has an underscore. Hosts are lower-case
and may have a port, so capitals and colons are written as `~` and their hexadecimal code. Beside
each stands `<pool>~apart`, which is no version's: the same instances for what no split sent there.
"""

from __future__ import annotations

import re
from typing import Final

APART: Final = "~apart"
_WRITTEN: Final = re.compile(r"[A-Z:]")
_ESCAPE: Final = re.compile(r"~(4[1-9a-f]|5[0-9a]|3a)")


def pool_name(service: str, version: str) -> str:
    """Name of the pool of one version, as metrics show it: `payments_2.0.1`."""
    return f"{service}_{_WRITTEN.sub(lambda one: f'~{ord(one[0]):x}', version)}"


def version_in(pool: str, service: str) -> str | None:
    """The version whose pool it is; None for one apart, or of another service."""
    owner, _, rest = pool.partition("_")
    version = _ESCAPE.sub(lambda one: chr(int(one[1], 16)), rest)
    is_one = owner == service and version != "" and "~" not in version
    return version if is_one and pool_name(service, version) == pool else None
