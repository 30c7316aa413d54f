"""Folders for servers that refuse to run as root: everybody may enter them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def open_folder() -> Iterator[Path]:
    """A folder with a short path, which goes at the end; pytest's own are closed to others."""
    with tempfile.TemporaryDirectory(prefix="aviary-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)
        yield folder
