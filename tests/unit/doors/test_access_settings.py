"""Credentials and certificates: what fits together, and which secrets are shown nowhere."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme
from pydantic import SecretStr

from adapters.alertmanager import AlertmanagerAlerts
from adapters.errors import Retryable
from adapters.http_access import HttpAccess, open_client
from adapters.metrics.prometheus.source import PrometheusMetrics
from adapters.secrets import Secret
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
        ({"webhook_token": " "}, "WEBHOOK_TOKEN", "no white space"),
        ({"prometheus_token": f"{SECRET}é"}, "PROMETHEUS_TOKEN", "expected ASCII"),
        ({"alertmanager_token": f"{SECRET}\0"}, "ALERTMANAGER_TOKEN", "printable"),
        ({"kafka_sasl_password": f"{SECRET}\x7f"}, "KAFKA_SASL_PASSWORD", "printable"),
        *(
            ({f"{part}_url": url}, f"{part.upper()}_URL", "(hidden): expected")
            for part in ("prometheus", "alertmanager", "temporal_ui", "report")
            for url in (f"http://[{SECRET}", f"http://u:{SECRET}/x@p:9090", "http://p:port")
        ),
        *(
            ({f"{part}_url": url}, f"{part.upper()}_URL", "(hidden): expected")
            for part in ("prometheus", "alertmanager")
            for url in (
                f"u:{SECRET}@p:9090",
                f"http:/u:{SECRET}@p",
                f"http:\\\\u:{SECRET}@p",
                f"http://u:1/{SECRET}@p",
                f"http://p?token={SECRET}",
                f"http://p/#{SECRET}",
                "http://p q",
                "p:9090",
                "ftp://p",
                "http://",
                "",
            )
        ),
        ({"temporal_address": f"u:{SECRET}@t:7233"}, "TEMPORAL_ADDRESS", "(hidden)"),
        ({"kafka_bootstrap": f"u:{SECRET}@k:9092"}, "KAFKA_BOOTSTRAP", "(hidden)"),
        ({"report_url": f"u:{SECRET}@r"}, "REPORT_URL", "(hidden)"),
        *(
            ({name: value}, name.upper(), "(hidden)")
            for name in ("temporal_address", "kafka_bootstrap", "report_url", "temporal_ui_url")
            for value in (f"http://p:9090?token={SECRET}", f"http://p:9090#{SECRET}")
        ),
        *(
            ({name: value}, name.upper(), "(hidden)")
            for name in ("temporal_address", "kafka_bootstrap")
            for value in (f"http://u:{SECRET}", f"u:{SECRET}%40p", f"u:{SECRET}\uff20p:1")
        ),
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
        password=Secret(SecretStr(SECRET), is_password=True),
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


@pytest.mark.parametrize(
    "url", ["https://u.example/@team/x", "http://[::1]:80/a", "HTTPS://u.example"]
)
def test_addresses_that_fit(url: str) -> None:
    assert load_settings(report_url=url.replace("HTTPS", "https")).report_url
    if "@" not in url:
        assert load_settings(prometheus_url=url, alertmanager_url=url).prometheus_url == url


def test_the_source_of_a_plugin_may_have_an_address_of_another_kind() -> None:
    assert load_settings(metrics_source="other", prometheus_url="db://m?x=1").prometheus_url


@pytest.mark.parametrize("odd", ["hunter\n2", "hunter\x002", "hunter 2", "huntér2", "\u4e2d"])
async def test_a_token_that_no_client_can_send_is_shown_in_no_error(
    tmp_path: Path, odd: str
) -> None:
    """Both client libraries say the whole header in their own errors."""
    file = tmp_path / "token"
    file.write_text(odd)
    access = HttpAccess(token=Secret(file=file))
    source = PrometheusMetrics("http://127.0.0.1:9", access=access)
    async with open_client(access, timeout_s=1) as client:
        for asked in (
            AlertmanagerAlerts("http://127.0.0.1:9", client).firing(),
            source.query("up", datetime.now(UTC)),
        ):
            with pytest.raises(Retryable) as caught:
                await asked
            assert str(file) in str(caught.value)
            assert "hunt" not in repr(caught.value).replace(str(file), "")
    source.close()


def test_a_password_may_be_of_any_alphabet(tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("h\u00e9 2\n")
    access = HttpAccess(user="u", password=Secret(file=file, is_password=True))
    assert access.authorization() == "Basic dTpow6kgMg=="


@pytest.mark.parametrize("content", [None, b"", b" \n", b"\xff\xfe", b"one\ntwo", b"a\0b"])
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
