"""Who we are to a cluster, found anew whenever it may have changed: tokens and files rotate."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
import subprocess
from base64 import b64decode
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any, Final

import yaml

from adapters.errors import Retryable
from adapters.kubernetes.connection import KubernetesConnection
from adapters.secrets import Secret
from schemas.files import UnreadableError, read_regular
from schemas.outside import cut, one_line

ACCOUNT: Final = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a pod finds its own account."""
_MOST_BYTES: Final = 4_000_000
_EXEC_S: Final = 60.0
_MOST_OUTPUT: Final = 1_000_000
_EARLY_S: Final = 30.0
"""Before it expires, the token of a program is asked for anew."""

Json = dict[str, Any]


def _forget_nothing() -> None:
    """Nothing is kept."""


@dataclass(frozen=True)
class Cluster:
    """A cluster as it is reached, and by whom."""

    server: str
    namespace: str
    tls: ssl.SSLContext | None
    """None: plain HTTP, as through `kubectl proxy`."""
    bearer: Callable[[], str]
    """The token of this moment; empty where there is none. It may wait: call it in a thread."""
    forget: Callable[[], None] = _forget_nothing
    """Told that the server did not take the token."""


class Credentials:
    """Finds the cluster of a connection, again whenever what says so has changed.

    Args:
        connection: of the settings.
        now: the time of day.
        account: where the pod's own account is.
        environment: has the address of the API server, for a pod.
    """

    def __init__(
        self,
        connection: KubernetesConnection,
        now: Callable[[], datetime],
        account: Path = ACCOUNT,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._connection, self._now, self._account = connection, now, account
        self._environment = os.environ if environment is None else environment
        self._seen: tuple[object, ...] | None = None
        self._cluster: Cluster | None = None

    async def cluster(self) -> Cluster:
        """The cluster, as it is reached now: the same object as long as nothing has changed.

        Raises:
            Retryable: what says so can't be read, or is not what it should be; no secret is told.
        """
        return await asyncio.to_thread(self._current)

    def _current(self) -> Cluster:
        seen = self._stamps()
        if self._cluster is None or seen != self._seen:
            self._cluster, self._seen = self._found(), seen
        return self._cluster

    def _stamps(self) -> tuple[object, ...]:
        """Of the files that are read once, and not at each use."""
        one = self._connection
        files = (one.kubeconfig, one.ca_file, one.cert_file, one.key_file, self._account / "ca.crt")
        return tuple(_stamp(file) for file in files if file is not None)

    def _found(self) -> Cluster:
        one = self._connection
        if one.kubeconfig is not None:
            return self._of_kubeconfig(one.kubeconfig)
        if one.server is not None:
            tls = _tls(one.server, one.ca_file, one.cert_file, one.key_file)
            token = one.token
            bearer = _nobody if token is None else token.read
            return Cluster(one.server.rstrip("/"), one.namespace or "default", tls, bearer)
        return self._of_pod()

    def _of_pod(self) -> Cluster:
        host = self._environment.get("KUBERNETES_SERVICE_HOST", "")
        port = self._environment.get("KUBERNETES_SERVICE_PORT", "443")
        if not host:
            raise Retryable(
                "kubernetes: expected kubeconfig or server in the connection, or to run in a pod "
                "(KUBERNETES_SERVICE_HOST is not set)"
            )
        server = f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"
        namespace = self._connection.namespace or _text(self._account / "namespace") or "default"
        token = Secret(file=self._account / "token")
        return Cluster(server, namespace, _tls(server, self._account / "ca.crt"), token.read)

    def _of_kubeconfig(self, path: Path) -> Cluster:
        said = _read_yaml(path)
        name = self._connection.context or str(said.get("current-context") or "")
        context = _named(said, "contexts", "context", name, path)
        cluster = _named(said, "clusters", "cluster", str(context.get("cluster") or ""), path)
        user = _named(said, "users", "user", str(context.get("user") or ""), path)
        server = str(cluster.get("server") or "").rstrip("/")
        if not server.startswith(("https://", "http://")):
            raise Retryable(f"{path}: context {name}: expected a server https://…")
        namespace = self._connection.namespace or str(context.get("namespace") or "default")
        tls = None
        if server.startswith("https://"):
            tls = _tls_of(cluster, user, path)
        bearer = self._bearer_of(user, path)
        forget = bearer.forget if isinstance(bearer, _Program) else _forget_nothing
        return Cluster(server, namespace, tls, bearer, forget)

    def _bearer_of(self, user: Mapping[str, Any], path: Path) -> Callable[[], str]:
        file = user.get("tokenFile")
        if isinstance(file, str) and file:
            return Secret(file=path.parent / file).read
        token = user.get("token")
        if isinstance(token, str) and token:
            return lambda: token
        program = user.get("exec")
        if isinstance(program, dict):
            return _Program(program, path, self._now)
        if user.get("auth-provider"):
            raise Retryable(f"{path}: auth-provider: expected exec, as clients have had since 1.26")
        return _nobody


class _Program:
    """A credential plugin: `exec` of a kubeconfig, which prints a token."""

    def __init__(self, said: Mapping[str, Any], path: Path, now: Callable[[], datetime]) -> None:
        self._said, self._path, self._now = said, path, now
        self._token = ""
        self._until: datetime | None = None

    def __call__(self) -> str:
        """The token, asked for anew where it is about to expire."""
        is_old = self._until is None or (self._until - self._now()).total_seconds() < _EARLY_S
        if self._token and not is_old:
            return self._token
        status = self._asked().get("status")
        token = status.get("token") if isinstance(status, dict) else None
        if not isinstance(token, str) or not token.isprintable() or not token.isascii():
            raise Retryable(f"{self._path}: exec {self._name}: expected a token in its status")
        self._token, self._until = token, _time((status or {}).get("expirationTimestamp"))
        return token

    def forget(self) -> None:
        """Ask anew at the next use."""
        self._token = ""

    @property
    def _name(self) -> str:
        return one_line(str(self._said.get("command") or ""))[:200]

    def _asked(self) -> Json:
        arguments = [str(one) for one in self._said.get("args") or ()]
        given = {
            str(one.get("name")): str(one.get("value"))
            for one in self._said.get("env") or ()
            if isinstance(one, dict)
        }
        version = str(self._said.get("apiVersion") or "client.authentication.k8s.io/v1")
        asked = {"apiVersion": version, "kind": "ExecCredential", "spec": {"interactive": False}}
        try:
            done = subprocess.run(  # noqa: S603 - what the kubeconfig of the settings names
                [str(self._said.get("command") or ""), *arguments],
                env={**os.environ, **given, "KUBERNETES_EXEC_INFO": json.dumps(asked)},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=_EXEC_S,
                check=False,
            )
        except (OSError, ValueError, subprocess.TimeoutExpired) as error:
            why = f"{type(error).__name__}: {getattr(error, 'strerror', '') or 'no end'}"
            raise Retryable(f"{self._path}: exec {self._name}: {why}") from None
        if done.returncode != 0:
            words = cut(one_line(done.stderr[-2_000:].decode(errors="replace")), 500)
            text = f"{self._path}: exec {self._name}: ended with {done.returncode}: {words}"
            raise Retryable(text)
        try:
            found = json.loads(done.stdout[:_MOST_OUTPUT])
        except ValueError:
            found = None
        if not isinstance(found, dict):
            raise Retryable(f"{self._path}: exec {self._name}: expected an ExecCredential as JSON")
        return found


def _nobody() -> str:
    return ""


def _tls_of(cluster: Mapping[str, Any], user: Mapping[str, Any], path: Path) -> ssl.SSLContext:
    if cluster.get("insecure-skip-tls-verify"):
        raise Retryable(f"{path}: insecure-skip-tls-verify: expected certificate-authority")
    authority = _pem(cluster, "certificate-authority", path)
    ours, key = _pem(user, "client-certificate", path), _pem(user, "client-key", path)
    try:
        context = ssl.create_default_context(cadata=authority.decode() if authority else None)
        if ours and key:
            with _file(ours) as cert_file, _file(key) as key_file:
                context.load_cert_chain(cert_file, key_file)
    except (OSError, ValueError) as error:
        why = type(error).__name__
        raise Retryable(f"{path}: expected certificates and keys in PEM ({why})") from None
    server_name = cluster.get("tls-server-name")
    if server_name:
        raise Retryable(
            f"{path}: tls-server-name: expected the server by a name of its certificate"
        )
    return context


@contextmanager
def _file(content: bytes) -> Iterator[str]:
    """A file that only we can read: `ssl` takes a key from nowhere else."""
    with NamedTemporaryFile(prefix="aviary-") as file:
        file.write(content)
        file.flush()
        yield file.name


def _pem(said: Mapping[str, Any], name: str, path: Path) -> bytes:
    """What stands in a kubeconfig, or in a file that it names; empty: neither."""
    data, file = said.get(f"{name}-data"), said.get(name)
    if isinstance(data, str) and data:
        try:
            return b64decode(data, validate=True)
        except ValueError:
            raise Retryable(f"{path}: {name}-data: expected base64") from None
    return _bytes(path.parent / file) if isinstance(file, str) and file else b""


def _tls(
    server: str, ca: Path | None, cert: Path | None = None, key: Path | None = None
) -> ssl.SSLContext | None:
    if not server.startswith("https://"):
        return None
    try:
        context = ssl.create_default_context(cafile=str(ca) if ca else None)
        if cert is not None:
            context.load_cert_chain(cert, key)
    except OSError as error:
        files = ", ".join(str(one) for one in (ca, cert, key) if one)
        raise Retryable(f"kubernetes: expected readable PEM files ({files}): {error}") from None
    return context


def _read_yaml(path: Path) -> Json:
    try:
        found = yaml.safe_load(_bytes(path))
    except yaml.YAMLError:
        found = None  # whose words may show a secret
    if not isinstance(found, dict):
        raise Retryable(f"{path}: expected a kubeconfig as YAML")
    return found


def _named(said: Json, plural: str, field: str, name: str, path: Path) -> Json:
    """One entry of a kubeconfig's list."""
    entries = [one for one in said.get(plural) or () if isinstance(one, dict)]
    for one in entries:
        if one.get("name") == name and isinstance(one.get(field), dict):
            found: Json = one[field]
            return found
    known = ", ".join(str(one.get("name"))[:100] for one in entries[:20])
    raise Retryable(f"{path}: {plural}: expected {name[:200]!r}, there are: {known or 'none'}")


def _bytes(path: Path) -> bytes:
    try:
        return read_regular(path, _MOST_BYTES)
    except UnreadableError as error:
        raise Retryable(f"{path}: expected {error}") from None


def _text(path: Path) -> str:
    return _bytes(path).decode(errors="replace").strip() if path.exists() else ""


def _stamp(file: Path) -> object:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size, found.st_ino


def _time(said: Any) -> datetime | None:
    try:
        found = datetime.fromisoformat(str(said))
    except ValueError:
        return None
    return found if found.tzinfo else None
