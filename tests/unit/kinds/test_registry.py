"""A kind of an installed package has the rights of Aviary's own, and can break nobody else's."""

from __future__ import annotations

from pathlib import Path

import httpx
import pytest

from adapters.errors import Retryable, Terminal
from adapters.kinds import Shared
from adapters.ports import Router
from aviary.catalogs import make_catalog, read_catalog
from aviary.cli.notices import service_of
from aviary.connections import read_connections
from aviary.discreet import discreet
from aviary.kinds import registry
from aviary.registry import Broken
from aviary.routers import make_router
from aviary.settings import Settings
from schemas.catalog import Catalog
from schemas.catalog_file import CatalogError
from schemas.deploy import DeployRequested
from schemas.notice import Notice
from schemas.problems import show_value
from schemas.router_spec import MOST_OPTIONS, RouterSpec
from tests.packages import ROUTER, Packages
from workflows.planning import plan_release


def catalog(tmp_path: Path, router: str, more: str = "") -> Catalog:
    path = tmp_path / "catalog.yaml"
    path.write_text(f"version: 1\nservices:\n  ledger:\n    router: {{{router}}}\n{more}")
    return read_catalog(path)


def refused(tmp_path: Path, router: str, more: str = "") -> list[str]:
    with pytest.raises(CatalogError) as caught:
        catalog(tmp_path, router, more)
    return [str(one).partition("services.ledger.")[2] for one in caught.value.problems]


async def made(spec: RouterSpec) -> Router:
    async with httpx.AsyncClient() as client:
        return make_router(spec, registry(), {}, Shared(client)).router


async def test_an_installed_kind_is_one_like_our_own(tmp_path: Path, packages: Packages) -> None:
    packages.acme()
    found = catalog(tmp_path, "kind: acme, backend: web, hosts: [a]")
    resolved = found.resolve("ledger")
    assert [metric.name for metric in resolved.metrics or ()] == ["errors"]
    assert resolved.judge.pack == "haproxy"
    services = [{"service": "ledger", "version": "2"}]
    deploy = DeployRequested.model_validate({"release": "r", "services": services})
    plan = plan_release(found, deploy).services["ledger"]
    assert plan.router.options == {"backend": "web", "hosts": ["a"], "weight_limit": 10}
    assert plan.capabilities.sticky == ("cookie",)
    router = await made(plan.router)
    assert getattr(router, "options").hosts == ("a",)  # noqa: B009 - a class of the package's own


@pytest.mark.parametrize(
    ("router", "says"),
    [
        ("kind: acm", "router.kind: got 'acm', expected one of acme, alb, caddy"),
        ("kind: [acme]", "router.kind: got ['acme'], expected one of acme, alb, caddy"),
        ("backend: web", "router: got {'backend': 'web'}, expected a mapping with the field kind"),
        ("kind: acme", "router.backend: missing, expected a value (name of the backend)"),
        ("kind: acme, backend: 5", "router.backend: got 5, expected text: YAML reads this as"),
        (
            "kind: acme, backend: web, weight_limit: 101",
            "router.weight_limit: got 101, expected less than or equal to 100",
        ),
        (
            "kind: acme, backend: web, host: [a]",
            (
                "router.host: got 'host', expected one of the fields backend, connection, hosts, "
                "kind, weight_limit; did you mean 'hosts'?"
            ),
        ),
        ("kind: memory, connection: prod", "router.connection: got 'connection', expected one of"),
        (
            "kind: acme, backend: web, connection: prod",
            (
                "router.connection: got 'prod', expected a connection of kind acme of "
                "AVIARY_CONNECTIONS_FILE (there is none)"
            ),
        ),
        (
            "kind: acme, backend: 'http://u:hidden-pw@x'",
            "router.backend: got 'http://(hidden)@x', expected an address without user or password",
        ),
        ("kind: envoy, directory: /srv", "router.admin: missing, expected a value (admin addre"),
    ],
)
def test_what_does_not_fit_is_told_at_its_place(
    tmp_path: Path, packages: Packages, router: str, says: str
) -> None:
    packages.acme()
    (problem,) = refused(tmp_path, router, "    metrics: []\n")
    assert problem.startswith(says)


def test_faults_of_a_router_are_told_with_all_others(tmp_path: Path, packages: Packages) -> None:
    packages.acme()
    problems = refused(tmp_path, "kind: acme, backnd: web", "    strategy: nope\n")
    assert [one.split(":")[0] for one in problems] == [
        *("router.backend", "router.backnd", "strategy"),
    ]


def test_options_are_bounded(tmp_path: Path, packages: Packages) -> None:
    packages.acme()
    (problem,) = refused(tmp_path, f"kind: acme, backend: {'x' * MOST_OPTIONS}")
    assert "expected at most 50,000 bytes of options as JSON" in problem


def _with(field: str) -> str:
    """The package's code with one more option."""
    code = ROUTER.replace("    weight_limit: int", f"    {field}\n    weight_limit: int")
    named = code.replace('"acme",\n    text', '"broken",\n    text')
    return f"from pydantic import SecretStr\n{named}"


_SECRETS = [
    "deep: list[dict[str, SecretStr]] = []",
    "deep: Secret | None = None",
    "access_token: str = ''",
    "password: str = ''",
]


@pytest.mark.parametrize(
    ("code", "point", "says"),
    [
        ("import no_such_module", "broken:KIND", "ModuleNotFoundError"),
        ("raise SystemError('\\x1b[2J')", "broken:KIND", "broken:KIND: SystemError"),
        ("KIND = 5", "broken:KIND", "expected a RouterKind, got <class 'int'>"),
        ("", "broken:KIND", "AttributeError"),
        (ROUTER, "broken:ACME", "expected the name broken in it, got 'acme'"),
        (
            ROUTER.replace('name="acme"', 'name="broken"').replace('pack="haproxy"', 'pack="x"'),
            "broken:ACME",
            "pack: got 'x', expected a Pack, or one of caddy, envoy",
        ),
        *(
            (
                _with(field),
                "broken:ACME",
                "expected no secret: it would stand in plans and histories",
            )
            for field in _SECRETS
        ),
        (
            ROUTER.replace('name="acme"', 'name="broken"').replace(
                'connection_kind = "acme"', 'connection_kind = "envoy"'
            ),
            "broken:ACME",
            "connection: 'envoy' is the name of another model",
        ),
        (
            ROUTER.replace('name="acme"', 'name="broken"').replace('connection_kind = "acme"', ""),
            "broken:ACME",
            "expected a subclass of Connection, with a connection_kind",
        ),
        (
            ROUTER.replace('name="acme"', 'name="broken"').replace("hosts", "connection"),
            "broken:ACME",
            "options.connection: expected another name",
        ),
        (
            ROUTER.replace('name="acme"', 'name="broken"').replace(
                'says."""', 'says."""\n    model_config = {"extra": "ignore"}'
            ),
            "broken:ACME",
            "options: expected a model that forbids unknown fields",
        ),
    ],
)
def test_a_kind_that_can_not_be_used_is_told_where_it_is_named(
    tmp_path: Path, packages: Packages, code: str, point: str, says: str
) -> None:
    packages.install("broken", code, {"broken": point})
    (problem,) = refused(tmp_path, "kind: broken")
    assert problem.startswith("router.kind: got 'broken', expected a kind that can be used")
    assert says in problem
    assert "\x1b" not in problem
    assert catalog(tmp_path, "kind: memory", "    metrics: []\n").services
    assert [one.name for one in registry().routers.every() if isinstance(one, Broken)] == ["broken"]


def test_two_packages_with_one_kind_are_both_refused(tmp_path: Path, packages: Packages) -> None:
    packages.acme()
    packages.install("other", ROUTER, {"acme": "other:ACME"})
    (problem,) = refused(tmp_path, "kind: acme, backend: web")
    assert "more than one kind of this name is installed" in problem


def test_no_package_takes_the_place_of_our_own(tmp_path: Path, packages: Packages) -> None:
    code = ROUTER.replace('name="acme"', 'name="memory"')
    packages.install("evil", code, {"memory": "evil:ACME"})
    assert catalog(tmp_path, "kind: memory", "    metrics: []\n").services
    (told,) = [one for one in registry().routers.every() if isinstance(one, Broken)]
    assert (told.name, told.why) == ("memory", "evil:ACME: the name of a kind of Aviary's own")


async def test_what_can_not_be_made_of_a_plan_is_an_adapters_error(packages: Packages) -> None:
    spec = RouterSpec.model_validate({"kind": "acme", "backend": "nowhere"})
    with pytest.raises(Terminal, match="router kind acme: not installed"):
        await made(spec)
    packages.acme()
    with pytest.raises(Terminal, match="router kind acme: no backend nowhere"):
        await made(spec)
    with pytest.raises(Terminal, match="router kind acme: options: "):
        await made(RouterSpec(kind="acme"))
    away = RouterSpec.model_validate({"kind": "acme", "backend": "web", "connection": "prod"})
    with pytest.raises(Retryable, match="expected a connection prod in AVIARY_CONNECTIONS_FILE"):
        await made(away)


async def test_an_error_of_a_package_never_tells_a_secret(
    tmp_path: Path, packages: Packages
) -> None:
    packages.acme()
    file = tmp_path / "connections.yaml"
    file.write_text("prod: {kind: acme, url: 'http://x', token: hush-hush-hush}\n")
    connections = read_connections(Settings(connections_file=file))
    spec = RouterSpec.model_validate({"kind": "acme", "backend": "nowhere", "connection": "prod"})
    async with httpx.AsyncClient() as client:
        with pytest.raises(Terminal, match=r"for token \(hidden\)$") as caught:
            make_router(spec, registry(), connections, Shared(client))
    assert caught.value.__cause__ is None


def test_equal_specifications_are_one_router() -> None:
    def spec(**options: object) -> RouterSpec:
        return RouterSpec.model_validate({"kind": "mine", **options})

    one, same = spec(hosts=["a"], directory="/b"), spec(directory="/b", hosts=["a"])
    assert {one: 1}[same] == 1
    assert one != spec(directory="/c", hosts=["a"])
    assert one != spec(hosts=["a"], directory="/b", connection="prod")
    deep, swapped = spec(a={"x": 1, "y": 2}), spec(a={"y": 2, "x": 1})
    assert (deep == swapped, hash(deep) == hash(swapped)) == (True, True)


def test_a_plan_is_read_again_as_it_was_written(packages: Packages) -> None:
    packages.acme()
    router = {"kind": "acme", "backend": "web"}
    found = make_catalog({"version": 1, "services": {"a": {"router": router}}})
    spec = found.resolve("a").router
    assert RouterSpec.model_validate_json(spec.model_dump_json()) == spec
    assert "connection" not in spec.model_dump()


def test_a_package_that_lacks_a_file_says_which(packages: Packages) -> None:
    packages.install("our_pack", "open('/none/pack.yaml')", {"nlb": "our_pack:NLB"})
    (broken,) = registry().broken()
    assert "our_pack:NLB: FileNotFoundError" in broken.why
    assert "/none/pack.yaml" in broken.why


@pytest.mark.parametrize("name", ["token", "pw", "x"])
def test_a_secret_in_a_catalog_is_not_shown_whatever_its_name(tmp_path: Path, name: str) -> None:
    (told,) = refused(tmp_path, f"kind: envoy, directory: /x, connection: {{url: u, {name}: hush}}")
    assert told.startswith("router.connection: got {")
    assert told.endswith("}, expected a valid string")
    assert f"'{name}': " in told
    assert "hush" not in told
    assert "hush" not in str(refused(tmp_path, f"kind: envoy, admin: [{{{name}: hush}}]"))


def test_a_value_is_shown_as_a_document_has_it() -> None:
    assert show_value(("http://h:1", 2)) == show_value(["http://h:1", 2]) == "['http://h:1', 2]"


def test_an_adapter_whose_secrets_are_hidden_keeps_its_name() -> None:
    class IrcNotifier:
        async def notify(self, notice: Notice) -> None: ...

    written = {"url": "https://x.example", "token": "hush-hush"}
    connection = registry().connections()["prometheus"].model_validate(written)
    assert service_of(discreet(IrcNotifier(), connection)) == "IrcNotifier"
