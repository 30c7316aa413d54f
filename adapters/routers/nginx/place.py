"""What nginx itself is given: Lua modules, and the parts of nginx.conf that use them."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

ETC: Final = Path(__file__).parent / "etc"
"""The files as they are shipped; nginx may use them here, where it may read them."""


def place(folder: Path) -> None:
    """Copy the files to where nginx looks for them, over those of an earlier version.

    Args:
        folder: such as /etc/nginx/aviary.

    Raises:
        OSError: it can't be written.
    """
    shutil.copytree(ETC, folder, dirs_exist_ok=True)
