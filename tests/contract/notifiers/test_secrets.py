"""What is in an Apprise URL is told to its service, and to nobody else."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
from temporalio.api.failure.v1 import Failure
from temporalio.contrib.pydantic import pydantic_data_converter
from temporalio.testing import ActivityEnvironment

from activities.announce import AnnounceActivities
from adapters.errors import Retryable
from adapters.memory import MemoryEventLog
from aviary.channels import make_notifier
from aviary.settings import Settings, SettingsError, load_settings
from schemas.catalog_file import parse_catalog
from schemas.event_kinds import NoticeKind
from schemas.notice import Notice
from tests.contract.notifiers.receivers import HttpReceiver, MailReceiver, listening
from tests.contract.notifiers.subjects import SECRET

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # Apprise's
CATALOG = parse_catalog("version: 1\ndefaults: {router: {kind: memory}}\nservices: {a: }\n")
NOTICE = Notice(
    kind=NoticeKind.STUCK, release="r", text="no word", at=datetime(2026, 1, 1, tzinfo=UTC)
)
URLS = [
    "json://127.0.0.1:{port}/hooks/{secret}",
    "json://user:{secret}@127.0.0.1:{port}/",
    "json://127.0.0.1:{port}/?-token={secret}&+x-key={secret}",
    "form://127.0.0.1:{port}/?:key={secret}",
    "mmost://127.0.0.1:{port}/{secret}",
    "ntfy://user:{secret}@127.0.0.1:{port}/topic",
    "gotify://127.0.0.1:{port}/{secret}",
]


def _told(error: BaseException) -> str:
    """What Temporal keeps of a failed attempt."""
    failure = Failure()
    converter = pydantic_data_converter
    converter.failure_converter_class().to_failure(error, converter.payload_converter, failure)
    return f"{failure} {error!r}"


async def _attempt(settings: Settings) -> str:
    """One attempt of the activity; what its failure tells, empty when it went well."""
    notifier = make_notifier(settings, lambda: CATALOG)
    announce = AnnounceActivities(MemoryEventLog(), notifier)
    try:
        await ActivityEnvironment().run(announce.notify, NOTICE)
    except Retryable as error:
        return _told(error)
    return ""


@pytest.mark.parametrize("status", [200, 403, 500])
@pytest.mark.parametrize("url", URLS)
async def test_a_webhook(
    url: str, status: int, logs: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    receiver = HttpReceiver()
    receiver.status, receiver.answer = status, f'{{"error": "{SECRET}"}}'.encode()
    async with listening(receiver.handle) as port:
        line = f"oncall = {url.format(port=port, secret=SECRET)}"
        failed = await _attempt(load_settings(notify_channels=line))
    assert receiver.requests
    assert bool(failed) == (status != 200)
    written = logs.readouterr()
    assert NOTICE.text in written.err
    assert SECRET not in failed + written.err + written.out + caplog.text


@pytest.mark.parametrize("answer", ["250 taken", f"554 {SECRET}"])
async def test_mail(answer: str, logs: pytest.CaptureFixture[str]) -> None:
    receiver = MailReceiver()
    receiver.answer = answer
    async with listening(receiver.handle) as port:
        url = f"mailto://u:{SECRET}@127.0.0.1:{port}?from=a@b.example&to=c@d.example&mode=insecure"
        failed = await _attempt(load_settings(notify_channels=f"oncall = {url}"))
    assert bool(failed) != bool(receiver.mails)
    written = logs.readouterr()
    assert SECRET not in failed + written.err + written.out


async def test_nobody_there(logs: pytest.CaptureFixture[str]) -> None:
    receiver = HttpReceiver()
    async with listening(receiver.handle) as port:
        pass  # a port where nobody listens any more
    failed = await _attempt(load_settings(notify_channels=f"a = json://127.0.0.1:{port}/{SECRET}"))
    assert "channel a: JSON did not take it" in failed
    written = logs.readouterr()
    assert SECRET not in failed + written.err + written.out


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        (f"oncall = nosuch://{SECRET}", "AVIARY_NOTIFY_CHANNELS: oncall: expected a URL"),
        (f"a = json://x\noncall = slack://{SECRET}", "AVIARY_NOTIFY_CHANNELS: oncall: expected"),
        (f"oncall = {SECRET}", "AVIARY_NOTIFY_CHANNELS: oncall: expected a URL"),
        (f"# mine\n\n{SECRET}", "AVIARY_NOTIFY_CHANNELS: line 3: expected channel = url"),
        (f"{SECRET}! = json://x", "line 1: expected channel = url"),
        ("oncall =", "line 1: expected channel = url"),
    ],
)
def test_a_wrong_channel_is_named_and_not_shown(
    lines: str, words: str, logs: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    with pytest.raises(SettingsError) as caught:
        make_notifier(load_settings(notify_channels=lines), lambda: CATALOG)
    file = tmp_path / "channels"
    file.write_text(lines)
    with pytest.raises(SettingsError) as of_file:
        make_notifier(load_settings(notify_file=file), lambda: CATALOG)
    assert words in str(caught.value)
    assert re.sub("CHANNELS", "FILE", words) in str(of_file.value)
    written = logs.readouterr()
    told = _told(caught.value) + _told(of_file.value) + written.err + written.out
    assert SECRET not in told


def test_settings_show_no_channel(tmp_path: Path) -> None:
    line = f"oncall = json://x/{SECRET}"
    settings = load_settings(notify_channels=line)
    assert SECRET not in f"{settings!r} {settings} {settings.model_dump()} "
    with pytest.raises(SettingsError, match="AVIARY_NOTIFY_FILE") as caught:
        load_settings(notify_channels=line, notify_file=tmp_path)
    assert SECRET not in str(caught.value)
    with pytest.raises(SettingsError, match="AVIARY_NOTIFY_CHANNELS") as wrong:
        load_settings(notify_channels=[line])
    assert SECRET not in str(wrong.value)
