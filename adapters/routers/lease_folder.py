"""Signs of life beside routes that are in files: a file a service, in a folder of its own.

No router reads it, so a renewal makes none take up its routes again; and it needs no lock, since
whoever reads it asks for one thing only: is it another than before.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from adapters.errors import Retryable
from adapters.ports import Leased
from adapters.routers.files import said_by_path, write_text
from schemas.route import Route

LEASES: Final = "leases"
"""Name of the folder in the router's."""
_MOST_BYTES: Final = 1_000


class LeaseFolder:
    """Reads and writes `leases/<service>`. Its methods block; trouble with files is `Retryable`.

    Args:
        directory: the router's.
    """

    def __init__(self, directory: Path) -> None:
        self._folder = directory / LEASES

    def renew(self, service: str) -> None:
        """Leave another sign of life than the one before; a power cut may take it."""
        with said_by_path(self._folder):
            if self._folder.is_symlink():
                raise Retryable(f"{self._folder}: expected a folder, and no link to elsewhere")
            self._folder.mkdir(exist_ok=True)
        text = json.dumps({"renewal": secrets.token_hex(8)})
        write_text(self._folder / service, text, durable=False)

    def renewal(self, service: str) -> str:
        """The sign of life that is there; empty: none. Whatever it says, only a change counts."""
        path = self._folder / service
        with said_by_path(path):
            try:
                with path.open("rb") as file:
                    return file.read(_MOST_BYTES).hex()
            except FileNotFoundError:
                return ""

    def beside(self, routes: Iterable[Route]) -> Mapping[str, Leased]:
        """Routes with their signs of life, by service."""
        return {route.service: Leased(route, self.renewal(route.service)) for route in routes}
