"""Which cluster, and who we are to it: a context of a kubeconfig, a token, or the pod's account."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, ClassVar, Final, Self

from pydantic import Field, model_validator

from adapters.connections import Connection
from adapters.secrets import Secret

LABEL: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
Namespace = Annotated[str, Field(pattern=rf"^{LABEL}$", description="Of the cluster.")]
_SERVER: Final = re.compile(r"https?://[^/\s?#@]+(/[^\s?#]*)?")


class KubernetesConnection(Connection):
    """A cluster. Without any field: the one in which the worker runs, as its pod's account."""

    connection_kind: ClassVar[str] = "kubernetes"

    kubeconfig: Path | None = Field(
        default=None, description="A kubeconfig; read anew when it has changed."
    )
    context: str | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="A context of it; its current one if not set.",
    )
    server: str | None = Field(
        default=None,
        max_length=500,
        description="Address of an API server, such as https://10.0.0.1:6443, with token or "
        "certificate beside it, in place of a kubeconfig.",
    )
    token: Secret | None = Field(
        default=None, description="A bearer token; `token_file` is read at each use."
    )
    ca_file: Path | None = Field(default=None, description="Authorities of the server, PEM.")
    cert_file: Path | None = Field(default=None, description="Our certificate with its chain, PEM.")
    key_file: Path | None = Field(default=None, description="Its private key, PEM.")
    namespace: Namespace | None = Field(
        default=None,
        description="Where services are; that of the context, or of the pod, if not set.",
    )
    timeout_s: float = Field(
        default=30.0, ge=1, le=300, description="Longest that one request may take, in seconds."
    )
    at_once: int = Field(
        default=8, ge=1, le=100, description="Requests under way at a time, of one worker."
    )

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.context is not None and self.kubeconfig is None:
            raise ValueError("expected kubeconfig beside context")
        if self.kubeconfig is not None and self.server is not None:
            raise ValueError("expected kubeconfig or server, and not both")
        if self.server is not None and not _SERVER.fullmatch(self.server):
            raise ValueError(f"server: expected https://host:port, got {self.server!r}")
        beside = (self.token, self.ca_file, self.cert_file, self.key_file)
        if self.server is None and any(one is not None for one in beside):
            raise ValueError("token, ca_file, cert_file, key_file: expected beside server")
        if (self.cert_file is None) != (self.key_file is None):
            raise ValueError("expected cert_file and key_file beside each other")
        return self
