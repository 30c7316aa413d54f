"""A cluster is found by a kubeconfig, an address or a pod's account, and nothing secret is told."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trustme
import yaml
from pydantic import ValidationError

from adapters.errors import Retryable
from adapters.kubernetes.connection import KubernetesConnection
from adapters.kubernetes.credentials import Cluster, Credentials

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def kubeconfig(folder: Path, user: dict[str, Any], **cluster: Any) -> Path:
    said = {
        "current-context": "eu",
        "contexts": [
            {"name": "eu", "context": {"cluster": "c", "user": "u", "namespace": "shop"}},
            {"name": "us", "context": {"cluster": "c", "user": "nobody"}},
        ],
        "clusters": [{"name": "c", "cluster": {"server": "https://eu.example:6443"} | cluster}],
        "users": [{"name": "u", "user": user}],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(said))
    return path


async def found(connection: KubernetesConnection, **more: Any) -> Cluster:
    return await Credentials(connection, lambda: NOW, **more).cluster()


async def test_a_context_says_server_namespace_and_token(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, {"token": "abc"})
    cluster = await found(KubernetesConnection(kubeconfig=path))
    assert (cluster.server, cluster.namespace) == ("https://eu.example:6443", "shop")
    assert cluster.bearer() == "abc"
    assert cluster.tls is not None


async def test_certificates_may_stand_in_the_file_or_beside_it(tmp_path: Path) -> None:
    authority = trustme.CA()
    ours = authority.issue_cert("aviary")
    ca, key = authority.cert_pem.bytes(), ours.private_key_pem.bytes()
    (tmp_path / "ours.pem").write_bytes(b"".join(one.bytes() for one in ours.cert_chain_pems))
    user = {
        "client-certificate": "ours.pem",
        "client-key-data": base64.b64encode(key).decode(),
    }
    data = {"certificate-authority-data": base64.b64encode(ca).decode()}
    path = kubeconfig(tmp_path, user, **data)
    cluster = await found(KubernetesConnection(kubeconfig=path))
    assert cluster.tls is not None
    assert len(cluster.tls.get_ca_certs()) == 1


async def test_it_is_found_anew_when_the_file_has_changed_and_only_then(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, {"token": "abc"})
    credentials = Credentials(KubernetesConnection(kubeconfig=path), lambda: NOW)
    first = await credentials.cluster()
    assert await credentials.cluster() is first
    kubeconfig(tmp_path, {"token": "a-longer-one"})
    second = await credentials.cluster()
    assert second.bearer() == "a-longer-one"


async def test_the_token_of_a_program_is_kept_until_it_expires(tmp_path: Path) -> None:
    runs, until = tmp_path / "runs", NOW + timedelta(minutes=5)
    said = json.dumps({"status": {"token": "t", "expirationTimestamp": until.isoformat()}})
    script = f"echo once >> {runs}; echo '{said}'"
    path = kubeconfig(tmp_path, {"exec": {"command": "sh", "args": ["-c", script]}})
    moment = [NOW]
    credentials = Credentials(KubernetesConnection(kubeconfig=path), lambda: moment[0])
    cluster = await credentials.cluster()
    assert [cluster.bearer(), cluster.bearer()] == ["t", "t"]
    assert runs.read_text() == "once\n"
    moment[0] = until - timedelta(seconds=29)
    cluster.bearer()
    assert runs.read_text() == "once\n" * 2
    moment[0] = NOW
    cluster.forget()
    cluster.bearer()
    assert runs.read_text() == "once\n" * 3


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo no login >&2; exit 3", "ended with 3: no login"),
        ("echo nothing", "expected an ExecCredential"),
        ("echo '{\"status\":{}}'", "expected a token"),
    ],
)
async def test_a_program_that_gives_no_token_is_told_of(
    tmp_path: Path, script: str, words: str
) -> None:
    path = kubeconfig(tmp_path, {"exec": {"command": "sh", "args": ["-c", script]}})
    cluster = await found(KubernetesConnection(kubeconfig=path))
    with pytest.raises(Retryable, match=words):
        cluster.bearer()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("", "expected a kubeconfig"),
        ("{", "expected a kubeconfig"),
        ("current-context: nowhere", "contexts: expected 'nowhere', there are: none"),
    ],
)
async def test_what_is_no_kubeconfig_is_told_of(tmp_path: Path, content: str, words: str) -> None:
    path = tmp_path / "config"
    path.write_text(content)
    with pytest.raises(Retryable, match=words):
        await found(KubernetesConnection(kubeconfig=path))


@pytest.mark.parametrize(
    ("user", "cluster"),
    [
        ({"client-certificate-data": "very-secret"}, {}),
        ({"client-certificate-data": "c2VjcmV0", "client-key-data": "c2VjcmV0"}, {}),
        ({"token": "very-secret"}, {"insecure-skip-tls-verify": True}),
        ({"token": "very-secret"}, {"server": "ftp://x"}),
        ({"auth-provider": {"secret": "very-secret"}}, {}),
    ],
)
async def test_what_can_not_be_used_is_told_without_a_secret(
    tmp_path: Path, user: dict[str, Any], cluster: dict[str, Any]
) -> None:
    path = kubeconfig(tmp_path, user, **cluster)
    with pytest.raises(Retryable) as raised:
        await found(KubernetesConnection(kubeconfig=path))
    assert str(path) in str(raised.value)
    assert "very-secret" not in str(raised.value)
    assert "c2VjcmV0" not in str(raised.value)


async def test_a_pod_is_who_its_account_says_with_the_token_of_this_moment(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("first")
    (tmp_path / "namespace").write_text("aviary")
    (tmp_path / "ca.crt").write_bytes(trustme.CA().cert_pem.bytes())
    environment = {"KUBERNETES_SERVICE_HOST": "fd00::1", "KUBERNETES_SERVICE_PORT": "443"}
    cluster = await found(KubernetesConnection(), account=tmp_path, environment=environment)
    assert (cluster.server, cluster.namespace) == ("https://[fd00::1]:443", "aviary")
    assert cluster.bearer() == "first"
    (tmp_path / "token").write_text("second")
    assert cluster.bearer() == "second"


async def test_where_there_is_no_cluster_says_what_is_expected(tmp_path: Path) -> None:
    with pytest.raises(Retryable, match="expected kubeconfig or server in the connection"):
        await found(KubernetesConnection(), account=tmp_path, environment={})


@pytest.mark.parametrize(
    "fields",
    [
        {"context": "eu"},
        {"kubeconfig": "/a", "server": "https://b:6443"},
        {"token": "abc"},
        {"server": "b:6443"},
        {"server": "https://user:word@b:6443"},
        {"server": "https://b:6443", "cert_file": "/c"},
        {"namespace": "Shop"},
    ],
)
def test_fields_that_do_not_belong_together_are_refused(fields: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        KubernetesConnection.model_validate(fields)
