"""The browser is had from packages alone, or its absence is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from aviary.local.debian import DebianError
from tests.browser import browser
from tests.browser.conftest import go_without


async def test_a_machine_without_apt_is_told_what_is_expected(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DebianError, match="apt-get: not found"):
        await browser.install(tmp_path)


async def test_an_index_without_the_browser_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\nprintf \"'file:/x' libnss3_1_amd64.deb 12 SHA256:0\\n\"\n")
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with pytest.raises(DebianError, match="expected chromium-headless-shell"):
        await browser.install(tmp_path / "cache")


def test_without_a_browser_tests_are_skipped_but_fail_in_ci(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("CI", raising=False)
    with pytest.raises(pytest.skip.Exception, match="no Chromium .*: the mirror is away"):
        go_without(DebianError("the mirror is away"))
    monkeypatch.setenv("CI", "true")
    with pytest.raises(pytest.fail.Exception, match="the mirror is away"):
        go_without(DebianError("the mirror is away"))
