"""`aviary pools`: tell a router where the instances of versions are, for pipelines and people."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from aviary.cli.border import print_json, say
from aviary.cli.failing import CommandError, ExitCode
from aviary.cli.options import CatalogOption, Format, FormatOption, checked

if TYPE_CHECKING:
    from adapters.ports import EndpointWriter
    from schemas.deployment import Endpoint, Endpoints

T = TypeVar("T")

ServiceArgument = Annotated[str, typer.Argument(help="A service of the catalog.")]
VersionArgument = Annotated[str, typer.Argument(help="One of its versions.")]

pools = typer.Typer(help="Where the instances of versions are.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add the commands to the command line."""
    pools.command("list")(list_pools)
    pools.command()(put)
    pools.command()(drop)
    app.add_typer(pools, name="pools")


def list_pools(
    service: Annotated[
        str | None, typer.Argument(help="Only of this service of the catalog.")
    ] = None,
    catalog: CatalogOption = None,
    output: FormatOption = Format.TABLE,
) -> None:
    """List what routers know of the catalog's services: each version with its instances."""
    names = _services(service, catalog)
    found: dict[str, Mapping[str, Endpoints]] = {}
    for name in names:
        found |= _run(name, catalog, partial(_known, service=name))
    if output is Format.JSON:
        print_json({"pools": {name: _plain(versions) for name, versions in found.items()}})
        return
    for name, versions in found.items():
        for version, told in sorted(versions.items()):
            where = ", ".join(map(str, told.endpoints)) or "no instances"
            say(f"{name} {version}: {where}")


async def _known(writer: EndpointWriter, service: str) -> Mapping[str, Mapping[str, Endpoints]]:
    return await writer.endpoints(service)


def put(
    service: ServiceArgument,
    version: VersionArgument,
    endpoints: Annotated[
        list[str], typer.Argument(help="host:port of each instance, such as 10.0.0.7:8080.")
    ],
    catalog: CatalogOption = None,
) -> None:
    """Make these the instances of a version; returns once the router uses them."""
    there = [_endpoint(text) for text in endpoints]
    _check(service, version, catalog)
    _run(service, catalog, lambda writer: writer.put_endpoints(service, version, there, 0))
    say(f"{service} {version}: {', '.join(map(str, there))}")


def drop(service: ServiceArgument, version: VersionArgument, catalog: CatalogOption = None) -> None:
    """Forget a version; refused while a route names it."""
    _check(service, version, catalog)
    _run(service, catalog, lambda writer: writer.drop_endpoints(service, version, 0))
    say(f"{service} {version}: gone")


def _check(service: str, version: str, catalog: Path | None) -> None:
    from schemas.base import Version  # noqa: PLC0415 - keeps --help fast

    checked("VERSION", version, Version)
    _services(service, catalog)


def _services(service: str | None, catalog: Path | None) -> list[str]:
    from aviary.catalogs import read_catalog  # noqa: PLC0415
    from aviary.connections import read_connections  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415
    from schemas.catalog_check import nearest  # noqa: PLC0415

    settings = load_settings(catalog=catalog)
    known = read_catalog(settings.catalog, read_connections(settings)).services
    if service is None:
        return sorted(known)
    if service not in known:
        text = f"SERVICE: got '{service}', expected a service of {settings.catalog}"
        raise CommandError(ExitCode.BAD_INPUT, f"{text}{nearest(service, known)}")
    return [service]


def _run(service: str, catalog: Path | None, do: Callable[[EndpointWriter], Awaitable[T]]) -> T:
    """Ask the writer of the service's router; what it can't is told on stderr."""
    from adapters.errors import AdapterError  # noqa: PLC0415

    try:
        return asyncio.run(_with_writer(service, catalog, do))
    except AdapterError as error:
        raise CommandError(ExitCode.FAILURE, str(error)) from None


async def _with_writer(
    service: str, catalog: Path | None, do: Callable[[EndpointWriter], Awaitable[T]]
) -> T:
    import httpx  # noqa: PLC0415

    from adapters.kinds import Shared  # noqa: PLC0415
    from aviary.catalogs import read_catalog  # noqa: PLC0415
    from aviary.connections import read_connections  # noqa: PLC0415
    from aviary.kinds import registry  # noqa: PLC0415
    from aviary.routers import make_router  # noqa: PLC0415
    from aviary.settings import load_settings  # noqa: PLC0415

    settings = load_settings(catalog=catalog)
    connections = read_connections(settings)
    spec = read_catalog(settings.catalog, connections).resolve(service).router
    async with httpx.AsyncClient(timeout=5.0) as client:
        routing = make_router(spec, registry(), connections, Shared(client))
        try:
            if routing.endpoints is None:
                text = f"{service}: a router of kind {spec.text} can't be told where instances are"
                raise CommandError(ExitCode.BAD_INPUT, text)
            return await do(routing.endpoints)
        finally:
            await routing.router.aclose()


def _endpoint(text: str) -> Endpoint:
    from schemas.deployment import Endpoint  # noqa: PLC0415

    host, _, port = text.rpartition(":")
    try:
        return Endpoint(host=host.strip("[]"), port=int(port))
    except ValueError:
        expected = "host:port, such as 10.0.0.7:8080 or [::1]:8080"
        raise CommandError(
            ExitCode.BAD_INPUT, f"ENDPOINTS: got '{text}', expected {expected}"
        ) from None


def _plain(versions: Mapping[str, Endpoints]) -> dict[str, Any]:
    return {version: told.model_dump(mode="json") for version, told in sorted(versions.items())}
