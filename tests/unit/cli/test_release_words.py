"""`aviary release …` where there is no server: other tools' words, and one that is away."""

import re
import socket
import subprocess
import sys

import pytest

from aviary.cli.failing import MEANT, ExitCode
from tests.unit.cli.conftest import ROOT, Run, aviary


def test_an_unreachable_server_is_one_line_and_exit_code_1() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        done = aviary("release", "status", "r", "--address", address)
    assert done.returncode == 1
    assert done.stderr == f"Temporal at {address} can't be reached (Connection refused)\n"


@pytest.mark.parametrize("place", [(), ("release",)], ids=["top", "release"])
@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("abort", ["rollback"]),
        ("stop", ["rollback"]),
        ("cancel", ["rollback"]),
        ("Undo", ["rollback", "revert"]),
        ("promote", ["approve", "skip"]),
        ("halt", ["rollback"]),
        ("Reject", ["rollback"]),
        ("finish", ["approve", "skip"]),
        ("retry", ["start", "revert"]),
        ("inspect", ["status"]),
        ("continue", ["resume"]),
        ("ls", ["list"]),
    ],
)
def test_a_word_of_another_tool_names_the_right_one(
    run: Run, place: tuple[str, ...], word: str, meant: list[str]
) -> None:
    result = run(*place, word, "shop-42")
    assert result.exit_code == ExitCode.BAD_INPUT
    assert re.findall(r"aviary release (\w+)`", result.output.replace("root", "aviary")) == meant
    assert "Did you mean" not in result.output


def test_to_deploy_is_a_command_at_the_top_and_to_start_one_of_release(run: Run) -> None:
    assert run("deploy", "--help").exit_code == 0
    assert "aviary release start`" in run("release", "deploy", "shop-42").output


def test_every_word_that_is_named_is_a_command(run: Run) -> None:
    for meant in MEANT.values():
        for word in meant:
            assert run("release", word, "--help").exit_code == 0
            assert word not in MEANT


@pytest.mark.parametrize("word", ["rollback", "revert", "status", "approve"])
def test_a_command_of_release_at_the_top_says_where_it_is(run: Run, word: str) -> None:
    assert f"release {word}`" in run(word, "shop-42").output


@pytest.mark.parametrize("place", [(), ("release",)], ids=["top", "release"])
def test_the_version_is_an_option_as_well(run: Run, place: tuple[str, ...]) -> None:
    assert run(*place, "--version").output == run("version").output


def test_a_watch_keeps_the_sdk_s_own_lines_out_of_its_picture() -> None:
    """A server that goes away in mid-call makes the SDK warn, on whichever stream it likes."""
    program = [sys.executable, "-c", _WATCH]
    done = subprocess.run(
        program, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout.strip() == "CommandError", done.stderr
    assert not re.search(r"WARN|ERROR|temporalio|warning", done.stdout + done.stderr)


_WATCH = """
import asyncio, logging
from aviary.cli.failing import CommandError
from aviary.releases.remote import Releases, _runtime
from aviary.settings import load_settings

async def main():
    async def refuse(reader, writer):
        await reader.read(100)
        writer.close()
    server = await asyncio.start_server(refuse, "127.0.0.1", 0)
    address = "127.0.0.1:%d" % server.sockets[0].getsockname()[1]
    _runtime()
    logging.getLogger("temporalio.service").warning("raw")
    try:
        await asyncio.wait_for(Releases.connect(load_settings(temporal_address=address)), 30)
    except CommandError as error:
        print(type(error).__name__)

asyncio.run(main())
"""
