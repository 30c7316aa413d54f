"""plotly.js as the page carries it: packed, since it is 4.8 MB plain and 2 MB so."""

from __future__ import annotations

import base64
import gzip
import hashlib
from dataclasses import dataclass
from functools import cache
from importlib.resources import files


@dataclass(frozen=True)
class Bundle:
    """The library, and its hash for the page's security policy."""

    packed: str
    """gzip, as base64."""
    sha256: str
    """Of the plain text, as base64."""


@cache
def bundle() -> Bundle:
    """The plotly.js of the installed plotly; the smallest that this version ships is the whole.

    Raises:
        FileNotFoundError: plotly is not installed whole.
    """
    plain = files("plotly").joinpath("package_data/plotly.min.js").read_bytes()
    packed = base64.b64encode(gzip.compress(plain, 9, mtime=0)).decode()
    return Bundle(packed, digest(plain))


def digest(plain: bytes) -> str:
    """SHA-256 as a content security policy writes it."""
    return base64.b64encode(hashlib.sha256(plain).digest()).decode()
