"""One authority, a server's certificate for the loopback address, and a client's."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme


@dataclass(frozen=True)
class Pem:
    """Files of one private authority."""

    ca: Path
    server: Path
    server_key: Path
    client: Path
    """With its key."""
    stranger: Path
    """With its key, of another authority."""


@pytest.fixture(scope="session")
def pem(tmp_path_factory: pytest.TempPathFactory) -> Pem:
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    server = authority.issue_cert("127.0.0.1", "temporal.example")
    files = Pem(*(folder / name for name in ("ca", "server", "key", "client", "stranger")))
    authority.cert_pem.write_to_path(files.ca)
    server.cert_chain_pems[0].write_to_path(files.server)
    server.private_key_pem.write_to_path(files.server_key)
    for issuer, file in ((authority, files.client), (trustme.CA(), files.stranger)):
        issuer.issue_cert("aviary.example").private_key_and_cert_chain_pem.write_to_path(file)
    return files
