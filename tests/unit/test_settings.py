"""Settings come from one place, and what is wrong is named without telling secrets."""

from __future__ import annotations

import pytest

from aviary.connect import kafka_options
from aviary.settings import SettingsError, load_settings


def test_a_variable_reaches_its_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIARY_TEMPORAL_ADDRESS", "temporal.example:7233")
    assert load_settings().temporal_address == "temporal.example:7233"
    assert load_settings(temporal_address="other:1").temporal_address == "other:1"


def test_a_wrong_value_names_variable_value_and_expectation(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AVIARY_WEBHOOK_PORT", "eighty")
    with pytest.raises(SettingsError, match="AVIARY_WEBHOOK_PORT: 'eighty': .*integer"):
        load_settings()


def test_an_unknown_variable_is_an_error_with_the_nearest_name(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AVIARY_TEMPORAL_ADRESS", "x")
    with pytest.raises(SettingsError, match="did you mean AVIARY_TEMPORAL_ADDRESS"):
        load_settings()


def test_a_secret_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AVIARY_WEBHOOK_TOKEN", "s3cret")
    assert "s3cret" not in repr(load_settings())
    with pytest.raises(SettingsError) as caught:
        load_settings(webhook_token=["s3cret"])
    assert "s3cret" not in str(caught.value)


SECURE = {"kafka_security": "SASL_SSL", "kafka_sasl_user": "aviary", "kafka_sasl_password": "pw-1"}


@pytest.mark.parametrize(
    ("given", "name", "words"),
    [
        ({"kafka_security": "TLS"}, "KAFKA_SECURITY", "'TLS'"),
        ({"kafka_sasl_mechanism": "OAUTH"}, "KAFKA_SASL_MECHANISM", "'OAUTH'"),
        (SECURE | {"kafka_sasl_user": None}, "KAFKA_SASL_USER", "since AVIARY_KAFKA_SECURITY is"),
        (SECURE | {"kafka_sasl_password": None}, "KAFKA_SASL_PASSWORD", "expected a value"),
        ({"kafka_sasl_user": "aviary"}, "KAFKA_SASL_USER", "expected none"),
        ({"kafka_sasl_password": "pw-1"}, "KAFKA_SASL_PASSWORD", "expected none"),
        ({"kafka_ca_file": "ca.pem"}, "KAFKA_CA_FILE", "expected none"),
        (SECURE | {"kafka_ca_file": "nosuch.pem"}, "KAFKA_CA_FILE", "'nosuch.pem'"),
        (SECURE | {"kafka_ca_file": __file__}, "KAFKA_CA_FILE", "expected a file of PEM"),
    ],
)
def test_kafka_security_that_does_not_fit_names_its_setting(
    given: dict[str, str | None], name: str, words: str
) -> None:
    with pytest.raises(SettingsError) as caught:
        load_settings(**given)
    assert f"AVIARY_{name}: " in str(caught.value)
    assert words in str(caught.value)
    assert "pw-1" not in str(caught.value)


def test_kafkas_clients_get_the_credentials_and_nobody_else() -> None:
    settings = load_settings(**SECURE)
    options = kafka_options(settings)
    told = options.client_arguments()
    assert told["security_protocol"] == "SASL_SSL"
    assert told["sasl_mechanism"] == "SCRAM-SHA-512"
    assert (told["sasl_plain_username"], told["sasl_plain_password"]) == ("aviary", "pw-1")
    assert told["ssl_context"].check_hostname
    assert "AVIARY_KAFKA_SASL_PASSWORD" in options.hint()
    for shown in (repr(settings), repr(options), str(options), options.model_dump_json()):
        assert "pw-1" not in shown


def test_plain_text_has_no_credentials() -> None:
    options = kafka_options(load_settings())
    assert options.client_arguments() == {
        "bootstrap_servers": "127.0.0.1:9092",
        "security_protocol": "PLAINTEXT",
    }
    assert options.hint() == ""


@pytest.mark.parametrize(("replication", "in_sync"), [(1, 1), (2, 1), (3, 2), (5, 4)])
def test_all_replicas_but_one_must_confirm(replication: int, in_sync: int) -> None:
    options = kafka_options(load_settings(topic_replication=replication))
    assert options.in_sync == in_sync
