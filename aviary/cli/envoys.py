"""`aviary envoys`: the control plane of an Envoy fleet that shares no disk with Aviary."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aviary.cli.border import echo
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.processes import run_process, settings_of

if TYPE_CHECKING:
    from adapters.tls import TlsFiles

CertOption = Annotated[Path | None, typer.Option("--cert", help="Own certificate, PEM.")]
KeyOption = Annotated[Path | None, typer.Option("--key", help="Its private key, PEM.")]
CaOption = Annotated[Path | None, typer.Option("--ca", help="Authorities of the others, PEM.")]
PlainOption = Annotated[
    bool, typer.Option("--plaintext", help="Without certificates: whoever reaches it is served.")
]

envoys = typer.Typer(help="The control plane of an Envoy fleet.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    envoys.command()(serve)
    envoys.command()(bootstrap)
    app.add_typer(envoys, name="envoys")


def serve(  # noqa: PLR0913 - options of a command
    directory: Annotated[Path, typer.Argument(help="The folder of the router `envoy`.")],
    *,
    listen: Annotated[str, typer.Option(help="Where Envoys ask, host:port.")] = "127.0.0.1:18000",
    name: Annotated[str, typer.Option(help="Its own, among several of one folder.")] = "one",
    cert: CertOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    plaintext: PlainOption = False,
) -> None:
    """Send Envoys what the folder says, by delta ADS over gRPC, until SIGTERM or SIGINT."""
    tls = _tls(cert, key, ca, plaintext=plaintext)
    if not name.isidentifier():
        text = f"--name: expected letters, digits and _, found {name!r}"
        raise CommandError(ExitCode.BAD_INPUT, text)
    from aviary.envoys import run_control_plane  # noqa: PLC0415 - heavy, and only wanted here

    run = partial(run_control_plane, directory=directory, listen=listen, name=name, tls=tls)
    run_process([run], settings_of(None), "envoys")


def bootstrap(  # noqa: PLR0913 - options of a command
    node: Annotated[str, typer.Argument(help="Id of the Envoy, which no other has.")],
    *,
    control: Annotated[list[str], typer.Option(help="A control plane, host:port; repeatable.")],
    admin: Annotated[str, typer.Option(help="Admin address, host:port.")] = "127.0.0.1:9901",
    cert: CertOption = None,
    key: KeyOption = None,
    ca: CaOption = None,
    server_name: Annotated[
        str, typer.Option(help="Name in the certificates of control planes.")
    ] = "",
    plaintext: PlainOption = False,
) -> None:
    """Print what one Envoy is started with; certificates are paths that it sees."""
    tls = _tls(cert, key, ca, plaintext=plaintext)
    from aviary.envoys import bootstrap_text  # noqa: PLC0415 - heavy, and only wanted here

    planes = [_address(one, "--control") for one in control]
    echo(bootstrap_text(node, planes, _address(admin, "--admin"), tls, server_name))


def _tls(
    cert: Path | None, key: Path | None, ca: Path | None, *, plaintext: bool
) -> TlsFiles | None:
    from adapters.tls import TlsFiles  # noqa: PLC0415 - keeps --help fast

    if plaintext and cert is key is ca is None:
        return None
    if plaintext or cert is None or ca is None:
        text = "expected --cert, --key and --ca, or --plaintext where nobody else can reach it"
        raise CommandError(ExitCode.BAD_INPUT, text)
    return TlsFiles(ca=ca, cert=cert, key=key)


def _address(text: str, option: str) -> tuple[str, int]:
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) <= 65535:  # noqa: PLR2004 - a port
        raise CommandError(ExitCode.BAD_INPUT, f"{option}: expected host:port, found {text!r}")
    return host.strip("[]"), int(port)
