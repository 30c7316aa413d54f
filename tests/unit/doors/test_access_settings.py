"""Credentials and certificates: what fits together, and which secrets are shown nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from adapters.errors import Retryable
from adapters.http_access import HttpAccess, Secret
from adapters.tls import TlsFiles
from aviary.access_settings import http_access, is_loopback, secret_of
from aviary.settings import SettingsError, load_settings
from aviary.webhook import webhook_token
from schemas.alert import Alert, AlertStatus

SECRET = "hunter-2"


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Paths: an authority, a certificate with and without its key, the key, and what is none."""
    folder = tmp_path_factory.mktemp("pem")
    authority = trustme.CA()
    ours = authority.issue_cert("aviary.example")
    authority.cert_pem.write_to_path(folder / "ca")
    ours.cert_chain_pems[0].write_to_path(folder / "cert")
    ours.private_key_pem.write_to_path(folder / "key")
    ours.private_key_and_cert_chain_pem.write_to_path(folder / "both")
    (folder / "secret").write_text(f"{SECRET}\n")
    (folder / "empty").write_text("\n")
    names = ("ca", "cert", "key", "both", "secret", "empty", "missing")
    return {name: str(folder / name) for name in names}


PROM = {"prometheus_url": "https://prometheus.example"}
ALERTS = {"alertmanager_url": "https://alerts.example"}
CLOUD = {"temporal_tls": True}


@pytest.mark.parametrize(
    ("given", "setting", "expected"),
    [
        ({"prometheus_url": f"http://u:{SECRET}@p:9090"}, "PROMETHEUS_URL", "without user"),
        ({"alertmanager_url": f"http://u:{SECRET}@a:9093"}, "ALERTMANAGER_URL", "without user"),
        ({"alertmanager_url": f"http://{SECRET}@a:9093"}, "ALERTMANAGER_URL", "_USER and"),
        ({"report_url": f"https://u:{SECRET}@r"}, "REPORT_URL", "without user"),
        ({"temporal_ui_url": f"https://u:{SECRET}@t"}, "TEMPORAL_UI_URL", "without user"),
        ({"temporal_ui_url": f"ftp://u:{SECRET}@t"}, "TEMPORAL_UI_URL", "//(hidden)@t"),
        ({"prometheus_user": "u"}, "PROMETHEUS_USER", "AVIARY_PROMETHEUS_PASSWORD or"),
        ({"prometheus_password": SECRET}, "PROMETHEUS_PASSWORD", "AVIARY_PROMETHEUS_USER"),
        (
            {"alertmanager_user": "u", "alertmanager_password": "p", "alertmanager_token": SECRET},
            "ALERTMANAGER_TOKEN",
            "expected none, since AVIARY_ALERTMANAGER_USER is set",
        ),
        ({"prometheus_ca_file": "{ca}"}, "PROMETHEUS_CA_FILE", "AVIARY_PROMETHEUS_URL is not"),
        ({"alertmanager_cert_file": "{both}"}, "ALERTMANAGER_CERT_FILE", "is not https"),
        (PROM | {"prometheus_ca_file": "{missing}"}, "PROMETHEUS_CA_FILE", "PEM certificates"),
        (PROM | {"prometheus_ca_file": "{key}"}, "PROMETHEUS_CA_FILE", "PEM certificates"),
        (PROM | {"prometheus_cert_file": "{cert}"}, "PROMETHEUS_CERT_FILE", "with its key"),
        (ALERTS | {"alertmanager_key_file": "{key}"}, "ALERTMANAGER_KEY_FILE", "CERT_FILE beside"),
        ({"temporal_api_key": SECRET}, "TEMPORAL_API_KEY", "AVIARY_TEMPORAL_TLS=true"),
        ({"temporal_api_key_file": "{secret}"}, "TEMPORAL_API_KEY", "AVIARY_TEMPORAL_TLS=true"),
        ({"temporal_server_name": "t"}, "TEMPORAL_SERVER_NAME", "expected none"),
        ({"temporal_ca_file": "{ca}"}, "TEMPORAL_CA_FILE", "expected none"),
        (CLOUD | {"temporal_ca_file": "{missing}"}, "TEMPORAL_CA_FILE", "PEM certificates"),
        (CLOUD | {"temporal_cert_file": "{ca}"}, "TEMPORAL_CERT_FILE", "with its key"),
        ({"kafka_cert_file": "{both}"}, "KAFKA_CERT_FILE", "AVIARY_KAFKA_SECURITY is PLAINTEXT"),
        (
            {"kafka_security": "SSL", "kafka_cert_file": "{ca}", "kafka_key_file": "{key}"},
            "KAFKA_CERT_FILE",
            "with its key",
        ),
        (
            {"webhook_token": SECRET, "webhook_token_file": "{secret}"},
            "WEBHOOK_TOKEN_FILE",
            "expected none, since AVIARY_WEBHOOK_TOKEN is set",
        ),
        ({"webhook_token": ""}, "WEBHOOK_TOKEN", "(hidden)"),
        ({"webhook_token": f"{SECRET} "}, "WEBHOOK_TOKEN", "no white space"),
        ({"prometheus_token": ""}, "PROMETHEUS_TOKEN", "(hidden)"),
    ],
)
def test_what_does_not_fit_names_its_setting_and_no_secret(
    files: dict[str, str], given: dict[str, object], setting: str, expected: str
) -> None:
    told = {n: v.format(**files) if isinstance(v, str) else v for n, v in given.items()}
    with pytest.raises(SettingsError) as caught:
        load_settings(**told)
    assert f"AVIARY_{setting}: " in str(caught.value)
    assert expected in str(caught.value)
    assert SECRET not in str(caught.value)


def test_credentials_and_certificates_reach_the_access_and_no_text(files: dict[str, str]) -> None:
    settings = load_settings(
        prometheus_url="https://prometheus.example",
        prometheus_user="judge",
        prometheus_password=SECRET,
        prometheus_ca_file=files["ca"],
        prometheus_cert_file=files["cert"],
        prometheus_key_file=files["key"],
        alertmanager_url="http://alerts.example",
        alertmanager_token_file=files["secret"],
        temporal_tls=True,
        temporal_api_key_file=files["secret"],
    )
    access = http_access(settings, "prometheus")
    assert access == HttpAccess(
        user="judge",
        password=Secret(SecretStr(SECRET)),
        tls=TlsFiles(*(Path(files[name]) for name in ("ca", "cert", "key"))),
    )
    assert access.authorization() == "Basic anVkZ2U6aHVudGVyLTI="
    assert http_access(settings, "alertmanager").authorization() == f"Bearer {SECRET}"
    key = secret_of(settings, "temporal_api_key")
    assert key is not None
    assert key.get_secret_value() == SECRET
    for shown in (repr(settings), repr(access), str(access), settings.model_dump_json()):
        assert SECRET not in shown


def test_without_credentials_there_is_no_header() -> None:
    assert http_access(load_settings(), "prometheus") == HttpAccess()
    assert HttpAccess().authorization() is None


def test_a_token_in_a_file_is_read_anew(tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("one\n")
    access = HttpAccess(token=Secret(file=file))
    assert access.authorization() == "Bearer one"
    file.write_text("two")
    assert access.authorization() == "Bearer two"


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe"])
def test_a_file_without_a_secret_is_tried_again(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "token"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Retryable, match=str(file)):
        Secret(file=file).read()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "webhook.example", ""])
def test_a_webhook_that_others_reach_wants_a_token(host: str) -> None:
    settings = load_settings(webhook_host=host)
    with pytest.raises(SettingsError, match="AVIARY_WEBHOOK_TOKEN: missing"):
        webhook_token(settings)
    assert webhook_token(load_settings(webhook_host=host, webhook_token=SECRET)) is not None


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_a_webhook_of_this_machine_alone_says_loudly_that_it_has_no_token(
    host: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert is_loopback(host)
    assert webhook_token(load_settings(webhook_host=host)) is None
    assert "webhook_without_token" in capsys.readouterr().out


def test_an_alert_tells_nobody_the_password_of_who_sent_it() -> None:
    alert = Alert(
        status=AlertStatus.FIRING,
        fingerprint="f",
        labels={},
        starts_at=datetime(2026, 1, 1, tzinfo=UTC),
        generator_url=f"https://u:{SECRET}@prometheus/graph?g0.expr=up",
        external_url=f"http://u:{SECRET}@alertmanager:9093",
    )
    assert SECRET not in alert.model_dump_json()
    assert alert.external_url == "http://(hidden)@alertmanager:9093"
