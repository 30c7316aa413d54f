"""The settings of doors: who we are to each part, whom we trust, and whom we let in."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import urlsplit

from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings

from adapters.http_access import HttpAccess
from adapters.secrets import Secret, unsendable
from adapters.tls import TlsFiles

HTTP_PARTS: Final = ("prometheus", "alertmanager")
"""Parts that are asked over HTTP; each has the settings `<part>_url`, `<part>_user` and so on."""
_URLS: Final = (
    "prometheus_url",
    "alertmanager_url",
    "temporal_ui_url",
    "report_url",
    "hook_answer_url",
)
_SECRETS: Final = (
    "prometheus_password",
    "prometheus_token",
    "alertmanager_password",
    "alertmanager_token",
    "temporal_api_key",
    "kafka_sasl_password",
    "webhook_token",
    "deploy_token",
    "hook_answer_secret",
)
"""Each may also stand in a file: `<name>_file`."""

_ODD: Final = re.compile(r"[\s?#\\]")

_USER = Field(default=None, min_length=1, description="For basic authentication.")
_PASSWORD = Field(default=None, min_length=1, description="Its password.")
_TOKEN = Field(default=None, min_length=1, description="A bearer token, in place of a user.")
_FILE = Field(default=None, description="A file of it, read anew at each use.")
_FILE_AT_START = Field(default=None, description="A file of it, read at start.")
_CA = Field(default=None, description="Authorities, PEM; the system's when not set.")
_CERT = Field(default=None, description="Our certificate with its chain, PEM.")
_KEY = Field(default=None, description="Its private key, PEM, where it is not in the same file.")


class AccessSettings(BaseSettings):
    """The fields; `problems` says what does not fit together."""

    prometheus_user: str | None = _USER
    prometheus_password: SecretStr | None = _PASSWORD
    prometheus_password_file: Path | None = _FILE
    prometheus_token: SecretStr | None = _TOKEN
    prometheus_token_file: Path | None = _FILE
    prometheus_ca_file: Path | None = _CA
    prometheus_cert_file: Path | None = _CERT
    prometheus_key_file: Path | None = _KEY

    alertmanager_user: str | None = _USER
    alertmanager_password: SecretStr | None = _PASSWORD
    alertmanager_password_file: Path | None = _FILE
    alertmanager_token: SecretStr | None = _TOKEN
    alertmanager_token_file: Path | None = _FILE
    alertmanager_ca_file: Path | None = _CA
    alertmanager_cert_file: Path | None = _CERT
    alertmanager_key_file: Path | None = _KEY

    temporal_api_key: SecretStr | None = Field(
        default=None, min_length=1, description="For Temporal Cloud; only over TLS."
    )
    temporal_api_key_file: Path | None = _FILE_AT_START
    temporal_tls: bool = Field(default=False, description="Use TLS.")
    temporal_ca_file: Path | None = _CA
    temporal_cert_file: Path | None = _CERT
    temporal_key_file: Path | None = _KEY
    temporal_server_name: str | None = Field(
        default=None, min_length=1, description="Name in Temporal's certificate; else the host's."
    )

    kafka_sasl_password_file: Path | None = _FILE_AT_START
    kafka_cert_file: Path | None = _CERT
    kafka_key_file: Path | None = _KEY

    webhook_token: SecretStr | None = Field(
        default=None, min_length=1, description="Bearer token demanded; needed beyond loopback."
    )
    webhook_token_file: Path | None = _FILE_AT_START
    deploy_token: SecretStr | None = Field(
        default=None,
        min_length=16,
        description="Bearer token of whoever sends deploy events to the webhook; without it none "
        "are taken there.",
    )
    deploy_token_file: Path | None = _FILE_AT_START
    webhook_cert_file: Path | None = Field(
        default=None,
        description="The webhook's certificate with its chain, PEM: it then speaks TLS alone.",
    )
    webhook_key_file: Path | None = _KEY
    webhook_ca_file: Path | None = Field(
        default=None,
        description="Authorities of callers, PEM: nobody connects without a certificate of theirs.",
    )
    hook_answer_secret: SecretStr | None = Field(
        default=None,
        min_length=24,
        description="Makes and proves the tokens of hooks that answer later; none are made "
        "without it.",
    )
    hook_answer_secret_file: Path | None = _FILE
    http_docs: bool = Field(
        default=False, description="Serve /docs, /redoc and /openapi.json beside what is served."
    )


class Problem(NamedTuple):
    """A setting that does not fit; the text never repeats a secret."""

    setting: str
    text: str


def problems(settings: Any) -> Iterator[Problem]:
    """What does not fit together, in the settings as they are."""
    yield from _urls(settings)
    for name in _SECRETS:
        if getattr(settings, name) is not None and getattr(settings, f"{name}_file") is not None:
            yield Problem(f"{name}_file", f"expected none, since {variable(name)} is set")
        yield from _sendable(name, getattr(settings, name))
    for part in HTTP_PARTS:
        yield from _credentials(settings, part)
        secure = str(getattr(settings, f"{part}_url") or "").startswith("https:")
        yield from _files(settings, part, secure, f"{variable(f'{part}_url')} is not https")
    if (
        settings.hook_answer_url is not None
        and secret_at_use(settings, "hook_answer_secret") is None
    ):
        yield Problem("hook_answer_url", "expected AVIARY_HOOK_ANSWER_SECRET beside it")
    cert = settings.webhook_cert_file is not None
    yield from _files(settings, "webhook", cert, "AVIARY_WEBHOOK_CERT_FILE is not set")
    yield from _temporal(settings)
    yield from _kafka(settings)


def variable(setting: str) -> str:
    """The environment variable of a setting."""
    return f"AVIARY_{setting.upper()}"


def _sendable(name: str, given: SecretStr | None) -> Iterator[Problem]:
    secret = given.get_secret_value() if given else ""
    if secret.split() not in ([], [secret]) or secret.isspace():
        yield Problem(name, "(hidden): expected no white space in it")
    elif why := unsendable(secret, is_password=_is_password(name)):
        yield Problem(name, f"(hidden): {why}")


def _is_password(name: str) -> bool:
    return name.endswith("password")


def _urls(settings: Any) -> Iterator[Problem]:
    for name in _URLS:
        url = getattr(settings, name)
        part = name.removesuffix("_url")
        if url is None:
            continue
        if part not in HTTP_PARTS:
            if not _is_address(url):
                yield Problem(name, "(hidden): expected an address without user or password")
        elif "@" in url:
            both = f"{variable(f'{part}_user')} and {variable(f'{part}_password')} are for that"
            text = f"(hidden): expected an address without user or password; {both}"
            yield Problem(name, text)
        elif not (_is_address(url) or (part == "prometheus" and _takes_other_addresses(settings))):
            text = "expected http:// or https://, a host, and no more than a port and a path"
            yield Problem(name, f"(hidden): {text}")


def _takes_other_addresses(settings: Any) -> bool:
    """Whether the metrics source is one that may have addresses of another kind."""
    return bool(settings.metrics_source != "prometheus")


def _is_address(url: str) -> bool:
    """Whether it is an address of HTTP without a user; a slash in a password makes a wrong port."""
    try:
        parts = urlsplit(url)
        sound = parts.port != 0 and parts.scheme in {"http", "https"} and parts.hostname
    except ValueError:
        return False
    return bool(sound) and "@" not in parts.netloc and not _ODD.search(url)


def _credentials(settings: Any, part: str) -> Iterator[Problem]:
    user = getattr(settings, f"{part}_user")
    password = _either(settings, f"{part}_password")
    token = _either(settings, f"{part}_token")
    if user is not None and password is None:
        both = f"{variable(f'{part}_password')} or {variable(f'{part}_password_file')}"
        yield Problem(f"{part}_user", f"expected {both} beside it")
    if user is None and password is not None:
        yield Problem(f"{part}_password", f"expected {variable(f'{part}_user')} beside it")
    if user is not None and token is not None:
        text = f"expected none, since {variable(f'{part}_user')} is set"
        yield Problem(f"{part}_token", text)


def _temporal(settings: Any) -> Iterator[Problem]:
    tls, off = settings.temporal_tls, "AVIARY_TEMPORAL_TLS is false"
    if _either(settings, "temporal_api_key") is not None and not tls:
        text = "expected AVIARY_TEMPORAL_TLS=true beside it: it would cross the network in the open"
        yield Problem("temporal_api_key", text)
    if settings.temporal_server_name is not None and not tls:
        yield Problem("temporal_server_name", f"expected none, since {off}")
    yield from _files(settings, "temporal", tls, off)


def _kafka(settings: Any) -> Iterator[Problem]:
    security = settings.kafka_security
    since, with_password = f"since AVIARY_KAFKA_SECURITY is {security}", security.startswith("SASL")
    password = _either(settings, "kafka_sasl_password")
    for name, value in (
        ("kafka_sasl_user", settings.kafka_sasl_user),
        ("kafka_sasl_password", password),
    ):
        if with_password and value is None:
            yield Problem(name, f"expected a value, {since}")
        if value is not None and not with_password:
            yield Problem(name, f"expected none, {since}")
    yield from _files(settings, "kafka", security.endswith("SSL"), since.removeprefix("since "))


def _files(settings: Any, part: str, secure: bool, otherwise: str) -> Iterator[Problem]:
    """What is wrong with the authorities, certificate and key of one part."""
    names = [f"{part}_{which}_file" for which in ("ca", "cert", "key")]
    ca_file, cert_file, key_file = (getattr(settings, name) for name in names)
    if not secure:
        for name in names:
            if getattr(settings, name) is not None:
                yield Problem(name, f"expected none, since {otherwise}")
        return
    if key_file is not None and cert_file is None:
        yield Problem(names[2], f"expected {variable(names[1])} beside it")
        return
    try:
        TlsFiles(ca_file).context()
    except OSError as error:  # SSLError is one
        yield Problem(names[0], f"'{ca_file}': expected a file of PEM certificates ({error})")
    if cert_file is None:
        return
    try:
        TlsFiles(cert=cert_file, key=key_file).context()
    except OSError as error:
        text = f"'{cert_file}': expected a PEM certificate with its key"
        also = f" (key: '{key_file}')" if key_file else ""
        yield Problem(names[1], f"{text}{also} ({error})")


def _either(settings: Any, name: str) -> Secret | None:
    given, file = getattr(settings, name), getattr(settings, f"{name}_file")
    if given is None and file is None:
        return None
    return Secret(given, file, _is_password(name))


def http_access(settings: Any, part: str) -> HttpAccess:
    """The access to one of `HTTP_PARTS`, as the settings have it."""
    files = (getattr(settings, f"{part}_{which}_file") for which in ("ca", "cert", "key"))
    return HttpAccess(
        user=getattr(settings, f"{part}_user"),
        password=_either(settings, f"{part}_password"),
        token=_either(settings, f"{part}_token"),
        tls=TlsFiles(*files),
    )


def secret_of(settings: Any, name: str) -> SecretStr | None:
    """A secret that is read at start: as given, or from its file.

    Raises:
        Retryable: the file can't be read, or is empty.
    """
    secret = _either(settings, name)
    return None if secret is None else SecretStr(secret.read())


def secret_at_use(settings: Any, name: str) -> Secret | None:
    """A secret that is read anew at each use; None where it is not set."""
    return _either(settings, name)


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches a server on this host."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
