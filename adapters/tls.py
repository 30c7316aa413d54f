"""Certificates on disk: whom a client trusts, and what it shows of itself."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class TlsFiles:
    """PEM files of one client. With none of them: the system's authorities, and no certificate."""

    ca: Path | None = None
    """Authorities in place of the system's."""
    cert: Path | None = None
    """The client's certificate with its chain, for servers that demand one."""
    key: Path | None = None
    """Its private key; None where it stands in `cert`."""

    def context(self) -> ssl.SSLContext:
        """All of it as Python's `ssl` takes it.

        Raises:
            OSError: a file can't be read, or is not what it should be.
        """
        context = ssl.create_default_context(cafile=str(self.ca) if self.ca else None)
        if self.cert is not None:
            context.load_cert_chain(self.cert, self.key)
        return context

    def __str__(self) -> str:
        return ", ".join(str(file) for file in (self.ca, self.cert, self.key) if file)
