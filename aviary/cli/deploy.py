"""`aviary deploy`: a pipeline's job, over HTTP alone."""

from __future__ import annotations

import json
import os
import random
import ssl
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final
from urllib.parse import urlsplit

import typer

from aviary.cli.border import say
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import duration
from aviary.pipeline.deploy import Until
from schemas.outside import hide_user

if TYPE_CHECKING:
    import httpx

    from aviary.pipeline.client import Time
    from aviary.pipeline.tokens import Token

STEP_SUMMARY: Final = "GITHUB_STEP_SUMMARY"
"""Where a job of GitHub has a file to which Markdown is added."""
_ID_URL: Final = "ACTIONS_ID_TOKEN_REQUEST_URL"
_ID_TOKEN: Final = "ACTIONS_ID_TOKEN_REQUEST_TOKEN"  # noqa: S105 - the name of a variable
_SUMMARY_MOST: Final = 900_000
"""Bytes: GitHub refuses the summary of a step that is larger than 1 MiB."""
_SOURCE: Final = "/aviary/deploy"


def register(app: typer.Typer) -> None:
    """Add the command to the command line."""
    app.command()(deploy)


def deploy(  # noqa: PLR0913 - one parameter an option
    *,
    event: Annotated[
        Path | None, typer.Argument(help="Deploy event, or its data; - is stdin.")
    ] = None,
    server: Annotated[str, typer.Option(envvar="AVIARY_SERVER", help="Address of the webhook.")],
    release: Annotated[str | None, typer.Option(help="The release id, with --service.")] = None,
    service: Annotated[
        list[str] | None, typer.Option("--service", "-s", help="Such as checkout=1.4.2; repeat it.")
    ] = None,
    image: Annotated[
        list[str] | None, typer.Option("--image", help="Such as checkout=registry.example/c:2.")
    ] = None,
    config: Annotated[
        list[str] | None, typer.Option("--config", help="Such as checkout:LOG_LEVEL=debug.")
    ] = None,
    strategy: Annotated[str | None, typer.Option(help="For all services of the release.")] = None,
    label: Annotated[
        list[str] | None, typer.Option("--label", help="Such as team=shop; repeat it.")
    ] = None,
    source: Annotated[str, typer.Option(help="Who asks: the event's source.")] = _SOURCE,
    token_file: Annotated[
        Path | None,
        typer.Option(envvar="AVIARY_TOKEN_FILE", help="File of the token; else AVIARY_TOKEN is."),
    ] = None,
    github_audience: Annotated[
        str | None,
        typer.Option(
            "--github-audience",
            envvar="AVIARY_AUDIENCE",
            help="In a job of GitHub: its own ID token, for this audience.",
        ),
    ] = None,
    ca_file: Annotated[
        Path | None, typer.Option(help="Authorities in place of the system's, PEM.")
    ] = None,
    cert_file: Annotated[
        Path | None, typer.Option(help="Certificate to show to the server, PEM.")
    ] = None,
    key_file: Annotated[Path | None, typer.Option(help="Its private key, PEM.")] = None,
    until: Annotated[Until, typer.Option(help="How long to wait.")] = Until.END,
    timeout: Annotated[
        str, typer.Option(metavar="DURATION", help="Then it is given up; the release goes on.")
    ] = "1h",
    appear: Annotated[
        str, typer.Option(metavar="DURATION", help="How long the event may be on its way.")
    ] = "5m",
    summary: Annotated[Path | None, typer.Option(help="File for the summary, in Markdown.")] = None,
) -> None:
    """Ask a server for a release, wait, and end as it did. Needs neither Kafka nor Temporal."""
    from aviary.pipeline.client import Server, Time  # noqa: PLC0415 - keeps --help fast
    from aviary.pipeline.deploy import Job, Outcome  # noqa: PLC0415

    options = [release, service, image, config, strategy, label]
    content = _event(event, options, source)
    _check_server(server)
    ends = duration("--timeout", timeout)
    moments = Time(time.monotonic, time.sleep, random.random)
    with _http(ca_file, cert_file, key_file) as http, _plain_http() as github:
        token = _token(token_file, github_audience, github, moments)
        deadline = time.monotonic() + ends.total_seconds()
        asked = Server(server, token, http, moments, deadline, lambda text: say(text, err=True))
        job = Job(asked, say, until, duration("--appear", appear).total_seconds())
        try:
            outcome = job.run(content)
        except KeyboardInterrupt:
            outcome = Outcome(ExitCode.INTERRUPTED, "interrupted; the release goes on", job.summary)
        except CommandError as error:
            outcome = Outcome(error.code, error.text, job.summary)
    _write_summary(outcome.summary or f"Aviary: {_code(outcome.text)}\n", summary)
    if outcome.code is not ExitCode.OK:
        raise CommandError(outcome.code, outcome.text)


def _code(text: str) -> str:
    """A text in Markdown that shows it as it is."""
    return f"`{text.replace('`', chr(39))}`"


def _event(path: Path | None, options: list[Any], source: str) -> bytes:
    """The event that is sent: that of a file as it is, bare data and options in an envelope.

    What an event may hold, the server says, which may be newer.

    Raises:
        CommandError: there is none, or two.
    """
    from aviary.cli.events import deploy_from_options, event_bytes  # noqa: PLC0415
    from schemas.rejection import load_json  # noqa: PLC0415

    release, service, image, config, strategy, label = options
    if (path is None) == (release is None):
        text = "expected an event, or --release with --service"
        raise CommandError(ExitCode.BAD_INPUT, text)
    if path is None:
        asked = deploy_from_options(
            release, service or [], image or [], config or [], strategy, label or []
        )
        return _enveloped(asked.model_dump(mode="json", exclude_none=True), source)
    if any(options):
        text = "expected no --service and the like beside an event: it says all"
        raise CommandError(ExitCode.BAD_INPUT, text)
    content = event_bytes(path)
    data = load_json(content)
    if isinstance(data, dict) and "specversion" in data:
        return content
    return _enveloped(data, source)


def _enveloped(data: Any, source: str) -> bytes:
    from schemas.deploy import DEPLOY_TYPE  # noqa: PLC0415

    release = data.get("release") if isinstance(data, dict) else None
    if not isinstance(release, str):
        raise CommandError(ExitCode.BAD_INPUT, "release: missing, expected the id of the release")
    event = {
        "specversion": "1.0",
        "type": DEPLOY_TYPE,
        "source": source,
        "id": release,
        "datacontenttype": "application/json",
        "data": data,
    }
    return json.dumps(event).encode()


def _check_server(url: str) -> None:
    try:
        parts = urlsplit(url)
        good = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good or parts.username is not None or parts.query or parts.fragment:
        expected = "an address such as https://webhook.example, and nothing secret in it"
        text = f"--server: got '{hide_user(url)}', expected {expected}"
        raise CommandError(ExitCode.BAD_INPUT, text)


def _http(ca: Path | None, cert: Path | None, key: Path | None) -> httpx.Client:
    import httpx  # noqa: PLC0415 - keeps --help fast

    from adapters.tls import TlsFiles  # noqa: PLC0415
    from aviary.pipeline.client import REQUEST_S  # noqa: PLC0415

    files = TlsFiles(ca, cert, key)
    try:
        context: ssl.SSLContext = files.context()
    except OSError as error:
        text = f"--ca-file, --cert-file, --key-file: got {files}: {error}"
        raise CommandError(ExitCode.BAD_INPUT, text) from None
    return httpx.Client(verify=context, timeout=REQUEST_S)


def _plain_http() -> httpx.Client:
    import httpx  # noqa: PLC0415 - keeps --help fast

    return httpx.Client(timeout=10.0)


def _token(file: Path | None, audience: str | None, github: httpx.Client, moments: Time) -> Token:
    """What the job proves itself with.

    Raises:
        CommandError: nothing, or two things.
    """
    from aviary.pipeline.tokens import GitHubToken, TokenFile, TokenOf  # noqa: PLC0415

    if audience is not None:
        url, secret = os.environ.get(_ID_URL), os.environ.get(_ID_TOKEN)
        if file is not None or not url or not secret:
            text = (
                f"--github-audience: {_ID_URL} is not set, expected a job of GitHub with "
                "`permissions: {id-token: write}`, and no --token-file"
            )
            raise CommandError(ExitCode.BAD_INPUT, text)
        return GitHubToken(github, url, secret, audience, moments.clock)
    if file is not None:
        return TokenFile(file)
    if plain := os.environ.get("AVIARY_TOKEN"):
        return TokenOf("AVIARY_TOKEN", plain)
    expected = "expected --token-file, AVIARY_TOKEN, or --github-audience"
    raise CommandError(ExitCode.BAD_INPUT, f"there is no token, {expected}")


def _write_summary(text: str, file: Path | None) -> None:
    """Put the summary where people look; a file that can't be written is told and no more."""
    content = text.encode("utf-8", "replace")[:_SUMMARY_MOST]
    step = os.environ.get(STEP_SUMMARY)
    for path, mode in ((file, "wb"), (Path(step) if step else None, "ab")):
        if path is None:
            continue
        try:
            with path.open(mode) as target:
                target.write(content + b"\n")
        except OSError as error:
            say(f"summary: {path} can't be written ({error.strerror})", err=True)
