"""Settings come from one place, and what is wrong is named without telling secrets."""

from __future__ import annotations

import pytest

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
