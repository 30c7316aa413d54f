"""A job of a pipeline: `aviary deploy` and the script with curl alone do the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest
import yaml

from aviary.pipeline import client, deploy
from aviary.releases.failing import ExitCode
from schemas.commit import Commit, commit_of, committed_at
from schemas.deploy import parse_deploy
from tests.unit.cli.conftest import ROOT, Run, run  # noqa: F401 - a fixture
from tests.unit.pipeline.scripted import (
    ACCEPTED,
    AWAY,
    GONE,
    MISSING,
    PLACE,
    Reply,
    Scripted,
    problem,
    scripted,
    seen,
)

SCRIPT = ROOT / "deploy/pipeline/deploy.sh"
ACTION = ROOT / "deploy/pipeline/github/action.yml"
TOKEN = "aviary_a-token-of-a-test"
EVENT = {
    "specversion": "1.0",
    "type": "dev.aviary.release.requested.v1",
    "source": "/ci/shop",
    "id": "job-7",
    "data": {"release": "shop-1", "services": [{"service": "checkout", "version": "2"}]},
}


@dataclass
class Ended:
    code: int
    output: str
    summary: str


Job = Callable[..., Ended]


@pytest.fixture
def server() -> Iterator[Scripted]:
    with scripted() as told:
        told.replies = [ACCEPTED, seen("finalized")]
        yield told


@pytest.fixture(params=["aviary deploy", "deploy.sh"])
def job(
    request: pytest.FixtureRequest,
    run: Run,  # noqa: F811 - the fixture
    server: Scripted,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> Job:
    """Take an event through, in either way."""
    event, summary = tmp_path / "event.json", tmp_path / "summary.md"
    event.write_text(json.dumps(EVENT))
    monkeypatch.setattr(deploy, "POLL_S", 0.05)
    monkeypatch.setattr(client, "_FIRST_WAIT_S", 0.05)

    def by_command(until: str, timeout: int, appear: int, env: dict[str, str]) -> Ended:
        for name, value in env.items():
            monkeypatch.setenv(name, value)
        timing = ("--until", until, "--timeout", f"{timeout}s", "--appear", f"{appear}s")
        result = run("deploy", event, *timing, "--summary", summary)
        assert result.exception is None or isinstance(result.exception, SystemExit)
        return Ended(result.exit_code, result.output, _read(summary))

    def by_script(until: str, timeout: int, appear: int, env: dict[str, str]) -> Ended:
        options = ["-u", until, "-t", str(timeout), "-a", str(appear), "-p", "0", "-s"]
        result = subprocess.run(
            [_dash(), str(SCRIPT), *options, str(summary), "-f", str(event)],
            env={"PATH": os.environ["PATH"], "LC_ALL": "C", **env},
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        return Ended(result.returncode, result.stdout + result.stderr, _read(summary))

    way = by_command if request.param == "aviary deploy" else by_script

    def take(until: str = "end", timeout: int = 90, appear: int = 60, **more: str) -> Ended:
        return way(
            until, timeout, appear, {"AVIARY_SERVER": server.url, "AVIARY_TOKEN": TOKEN} | more
        )

    return take


def _read(file: Path) -> str:
    return file.read_text() if file.exists() else ""


def _dash() -> str:
    return shutil.which("dash") or "sh"


def test_a_release_that_is_finalized_is_green(job: Job, server: Scripted) -> None:
    server.replies = [ACCEPTED, MISSING, seen("queued"), seen("running"), seen("finalized")]
    ended = job()
    assert ended.code == ExitCode.OK
    assert "release shop-1 is running" in ended.output
    assert ended.summary.startswith("## release shop-1 is finalized\n\nits story of finalized")
    (posted,) = server.of("POST")
    assert (posted.path, json.loads(posted.body)) == ("/events", EVENT)
    assert posted.headers["content-type"] == "application/cloudevents+json"
    assert {one.path for one in server.of("GET")} == {f"/{PLACE}"}
    assert {one.headers["authorization"] for one in server.asked} == {f"Bearer {TOKEN}"}


@pytest.mark.parametrize(
    ("replies", "until", "code", "words"),
    [
        ([ACCEPTED, seen("rolled_back")], "end", ExitCode.ROLLED_BACK, "rolled_back"),
        ([ACCEPTED, seen("running", "gated", asks=True)], "person", ExitCode.WAITING, "gated"),
        ([ACCEPTED], "accepted", ExitCode.OK, "accepted"),
        ([problem(422, "unknown_service", "chekout")], "end", ExitCode.BAD_INPUT, "chekout"),
        ([problem(403, "forbidden", "not yours")], "end", ExitCode.FAILURE, "not yours"),
        ([Reply(202, b"{}")], "end", ExitCode.FAILURE, "AVIARY_CALLERS_FILE"),
        ([Reply(302, b"", {"Location": "/x"})], "end", ExitCode.FAILURE, "302"),
        ([ACCEPTED, problem(403, "forbidden", "no read")], "end", ExitCode.FAILURE, "no read"),
        ([ACCEPTED, problem(409, "other", "others")], "end", ExitCode.BAD_INPUT, "others"),
        ([ACCEPTED, problem(409, "no_result", "ended")], "end", ExitCode.FAILURE, "ended"),
        ([ACCEPTED, seen("running"), MISSING], "end", ExitCode.NOT_FOUND, "gone"),
        ([ACCEPTED, problem(404, "no_such_path", "old")], "end", ExitCode.FAILURE, "old"),
    ],
)
def test_each_end_has_its_code(  # noqa: PLR0917 - a row of the table
    job: Job, server: Scripted, replies: list[Reply], until: str, code: ExitCode, words: str
) -> None:
    server.replies = list(replies)
    ended = job(until)
    assert (ended.code, words in ended.output) == (code, True), ended.output
    assert ended.summary


def test_a_server_that_is_away_is_asked_again_with_the_same_event(
    job: Job, server: Scripted
) -> None:
    server.replies = [AWAY, GONE, Reply(502), ACCEPTED, AWAY, GONE, seen("finalized")]
    ended = job()
    assert ended.code == ExitCode.OK
    assert "asking again" in ended.output
    assert {one.body for one in server.of("POST")} == {json.dumps(EVENT).encode()}
    assert (len(server.of("POST")), len(server.of("GET"))) == (4, 3)


def test_it_ends_when_its_time_is_over(job: Job, server: Scripted) -> None:
    server.replies = [ACCEPTED, seen("running")]
    ended = job(timeout=2)
    assert ended.code == ExitCode.TIMED_OUT
    assert "the release goes on: release shop-1 is running" in ended.output
    assert "its story of running" in ended.summary
    server.replies = [AWAY]
    assert job(timeout=1).code == ExitCode.FAILURE
    server.replies = [ACCEPTED, MISSING]
    ended = job(appear=1)
    assert (ended.code, "dead letter" in ended.output) == (ExitCode.NOT_FOUND, True)


def test_a_token_that_was_renewed_is_used(job: Job, server: Scripted, tmp_path: Path) -> None:
    file = tmp_path / "token"
    file.write_text("first\n")

    def known(header: str) -> bool:
        if len(server.asked) == 3:
            file.write_text("second\n")
        return header == ("Bearer first" if len(server.asked) < 3 else "Bearer second")

    server.tokens = known
    server.replies = [ACCEPTED, seen("running"), seen("finalized")]
    assert job(AVIARY_TOKEN_FILE=str(file)).code == ExitCode.OK
    server.tokens = lambda _: False
    ended = job(AVIARY_TOKEN_FILE=str(file))
    assert (ended.code, "expired" in ended.output) == (ExitCode.FAILURE, True)
    assert "second" not in ended.output + ended.summary


def test_what_the_server_says_is_text_in_a_log(job: Job, server: Scripted) -> None:
    server.replies = [ACCEPTED, seen("running", "x\x1b[2J\x07y"), seen("rolled_back", r"a\*\*b")]
    ended = job()
    assert "a**b" in ended.output
    assert not {"\x1b", "\x07"} & set(ended.output)


def test_github_hears_of_it_too(job: Job, server: Scripted, tmp_path: Path) -> None:
    step = tmp_path / "step"
    step.write_text("before\n")
    assert job(GITHUB_STEP_SUMMARY=str(step)).code == ExitCode.OK
    assert step.read_text().startswith("before\n## release shop-1 is finalized")
    assert len(server.of("POST")) == 1


@pytest.mark.parametrize(
    "env",
    [
        {"AVIARY_TOKEN": ""},
        {"AVIARY_SERVER": "https://user:secret@webhook.example"},
        {"AVIARY_SERVER": "ftp://webhook.example"},
        {"AVIARY_TOKEN_FILE": "/nowhere"},
    ],
)
def test_bad_settings_ask_nothing(job: Job, server: Scripted, env: dict[str, str]) -> None:
    ended = job(**env)
    assert (ended.code, server.asked) == (ExitCode.BAD_INPUT, [])
    assert "secret" not in ended.output.replace("nothing secret", "")


def test_the_script_is_posix() -> None:
    for command in ([_dash(), "-n"], [str(Path(sys.executable).with_name("shellcheck"))]):
        checked = subprocess.run([*command, str(SCRIPT)], capture_output=True, check=False)
        assert checked.returncode == 0, checked.stdout.decode() + checked.stderr.decode()


@pytest.mark.parametrize(
    "arguments",
    [
        ("shop-1",),
        ("shop-1", 'checkout=2","x":"'),
        ('shop"1', "checkout=2"),
        ("shop-1", "checkout"),
        ("shop-1", "checkout=a=b"),
        ("-t", "1e9", "shop-1", "checkout=2"),
        ("-u", "never", "shop-1", "checkout=2"),
        ("-l", "commit", "shop-1", "checkout=2"),
        ("-l", "ref=", "shop-1", "checkout=2"),
        ("-l", "=text", "shop-1", "checkout=2"),
        ("-l", 'ref=a","x":"', "shop-1", "checkout=2"),
        ("-l", 'r"f=a', "shop-1", "checkout=2"),
        ("-f", "/nowhere"),
        ("-x",),
    ],
)
def test_the_script_refuses_what_it_can_not_write_as_it_is(
    server: Scripted, arguments: tuple[str, ...]
) -> None:
    ended = by_hand(server, *arguments)
    assert (ended.returncode, server.asked) == (ExitCode.BAD_INPUT, []), ended.stderr


def test_the_script_and_the_command_make_the_same_event(
    server: Scripted,
    run: Run,  # noqa: F811 - the fixture
) -> None:
    pairs = ("checkout=2", "ledger=3.0.1+b-7")
    said = ("repository=acme/shop", "commit_time=2026-03-01T12:00:00+01:00", "ref=v1")
    marked = [part for one in said for part in ("-l", one)]
    assert by_hand(server, *marked, "shop-1", *pairs).returncode == 0
    services = [part for pair in pairs for part in ("--service", pair)]
    services += [part for one in said for part in ("--label", one)]
    env = {"AVIARY_SERVER": server.url, "AVIARY_TOKEN": TOKEN}
    server.replies = [ACCEPTED]
    with pytest.MonkeyPatch.context() as patched:
        for name, value in env.items():
            patched.setenv(name, value)
        result = run("deploy", "--release", "shop-1", *services, "--until", "accepted")
    assert result.exit_code == 0, result.output
    by_script, by_command = (parse_deploy(one.body) for one in server.of("POST"))
    assert by_script == by_command
    assert by_script.deploy.services[1].version == "3.0.1+b-7"
    assert by_script.deploy.labels == dict(one.split("=") for one in said)


def test_the_action_says_which_commit_it_is_and_leaves_out_what_is_no_plain_text(
    server: Scripted,
) -> None:
    script = yaml.safe_load(ACTION.read_text())["runs"]["steps"][0]["run"]
    inputs = {"RELEASE": "shop-1", "SERVICES": "checkout=2", "UNTIL": "accepted", "TIMEOUT": "60"}
    job = {
        "AVIARY_SERVER": server.url,
        "AVIARY_TOKEN": TOKEN,
        "SCRIPT": str(SCRIPT),
        "COMMITTED": "2026-03-01T12:00:00+01:00",
        "GITHUB_REPOSITORY": "acme/shop",
        "GITHUB_SHA": "a" * 40,
        "GITHUB_REF_NAME": 'a"$(id)',
    }
    command = [_dash(), "-e", "-c", script]
    path = {"PATH": os.environ["PATH"]}
    done = subprocess.run(
        command,
        env=path | job | inputs,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (posted,) = server.of("POST")
    labels = parse_deploy(posted.body).deploy.labels
    assert committed_at(labels) == datetime.fromisoformat(job["COMMITTED"])
    assert commit_of(labels) == Commit("acme/shop", "a" * 40)


def by_hand(server: Scripted, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "AVIARY_SERVER": server.url, "AVIARY_TOKEN": TOKEN}
    command = [_dash(), str(SCRIPT), "-p", "0", *arguments]
    return subprocess.run(
        command, env=env, capture_output=True, text=True, timeout=120, check=False
    )


def test_a_job_of_github_has_a_token_of_its_own(job: Job, server: Scripted) -> None:
    """It is asked for with the audience, and again when it is refused."""
    with scripted() as github:
        made = [Reply(200, json.dumps({"value": f"id.{n}.x"}).encode()) for n in (1, 2)]
        github.replies = made
        server.tokens = lambda header: header == "Bearer id.2.x"
        env = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{github.url}/mint?api-version=2.0",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "job-secret",
        }
        audience = "https://webhook.example/a b"
        ended = job(**env, AVIARY_AUDIENCE=audience)
    assert ended.code == ExitCode.OK, ended.output
    query = {parse_qs(urlsplit(one.path).query)["audience"][0] for one in github.asked}
    assert query == {audience}
    assert github.asked[0].headers["authorization"] == "Bearer job-secret"
    assert len(github.asked) == 2
