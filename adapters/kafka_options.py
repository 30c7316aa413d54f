"""How to reach Kafka: addresses, transport security, credentials, and the shape of topics."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Any, Literal, get_args

from pydantic import Field, SecretStr

from adapters.errors import Retryable
from adapters.tls import TlsFiles
from schemas.base import Model

KafkaSecurity = Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"]
SaslMechanism = Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"]
SECURITIES: tuple[str, ...] = get_args(KafkaSecurity)


class KafkaOptions(Model):
    """How to reach Kafka, and what topics look like when Aviary creates them."""

    bootstrap: str = Field(min_length=1, description="host:port, comma-separated.")
    idempotent: bool = Field(default=True, description="Idempotent producer; not every broker can.")
    partitions: int = Field(default=12, ge=1)
    replication: int = Field(default=1, ge=1)
    request_timeout_s: float = Field(default=10.0, gt=0, description="Seconds for one request.")
    security: KafkaSecurity = "PLAINTEXT"
    sasl_mechanism: SaslMechanism = "SCRAM-SHA-512"
    sasl_user: str | None = None
    sasl_password: SecretStr | None = None
    ca_file: Path | None = Field(
        default=None, description="PEM; the system's authorities when not set."
    )
    cert_file: Path | None = Field(default=None, description="Our certificate, PEM.")
    key_file: Path | None = Field(
        default=None, description="Its key, PEM, where it is not in the same file."
    )

    @property
    def in_sync(self) -> int:
        """Replicas that must have a record before it counts as written: all but one."""
        return max(1, self.replication - 1)

    def client_arguments(self) -> dict[str, Any]:
        """What every client of aiokafka is told alike.

        Raises:
            Retryable: a file of certificates can't be read (it was there at start).
        """
        arguments: dict[str, Any] = {
            "bootstrap_servers": self.bootstrap,
            "security_protocol": self.security,
        }
        if self.security.endswith("SSL"):
            arguments["ssl_context"] = self._trust()
        if self.security.startswith("SASL"):
            password = self.sasl_password.get_secret_value() if self.sasl_password else None
            arguments |= {
                "sasl_mechanism": self.sasl_mechanism,
                "sasl_plain_username": self.sasl_user,
                "sasl_plain_password": password,
            }
        return arguments

    def _trust(self) -> ssl.SSLContext:
        files = TlsFiles(self.ca_file, self.cert_file, self.key_file)
        try:
            return files.context()
        except OSError as error:
            raise Retryable(f"certificates for Kafka ({files}): {error}") from error

    def hint(self) -> str:
        """Which settings to look at when Kafka does not let us in; empty for plain text."""
        if self.security == "PLAINTEXT":
            return ""
        names = ["AVIARY_KAFKA_SECURITY"]
        if self.security.startswith("SASL"):
            names += [f"AVIARY_KAFKA_SASL_{word}" for word in ("MECHANISM", "USER", "PASSWORD")]
        if self.security.endswith("SSL"):
            names += [f"AVIARY_KAFKA_{word}_FILE" for word in ("CA", "CERT", "KEY")]
        return f" (over {self.security}: if Kafka is there, check {', '.join(names)})"
