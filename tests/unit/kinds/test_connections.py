"""Connections of the settings: read strictly, used by name, and never shown."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner, Result

from adapters.connections import Connection
from adapters.errors import Retryable
from adapters.http_connection import HttpConnection
from adapters.kinds import Shared
from aviary.catalogs import make_catalog, read_catalog
from aviary.channels import open_channels
from aviary.cli import build_app
from aviary.connections import read_connections
from aviary.kinds import registry
from aviary.metrics_source import make_source
from aviary.routers import make_router
from aviary.settings import Settings, SettingsError
from schemas.catalog_file import CatalogError
from tests.packages import Packages

SECRET = "hush-5ecret-of-prod"

pytestmark = pytest.mark.filterwarnings("ignore:'imghdr':DeprecationWarning")  # Apprise's
GOOD = f"""
prod-eu: {{kind: envoy, admin: ['http://10.0.0.7:9901']}}
metrics: {{kind: prometheus, url: 'https://prometheus.example', token: {SECRET}}}
oncall: {{kind: apprise, url: 'jsons://example.com/{SECRET}'}}
"""


def connections(tmp_path: Path, text: str) -> Mapping[str, Connection]:
    file = tmp_path / "connections.yaml"
    file.write_text(text)
    return read_connections(Settings(connections_file=file))


def refused(tmp_path: Path, text: str) -> str:
    with pytest.raises(SettingsError) as caught:
        connections(tmp_path, text)
    assert SECRET not in f"{caught.value}{caught.value!r}{caught.value.__cause__!r}"
    return str(caught.value)


def test_they_are_read_and_show_nothing(tmp_path: Path) -> None:
    found = connections(tmp_path, GOOD)
    assert sorted(found) == ["metrics", "oncall", "prod-eu"]
    shown = "".join(
        f"{one!r}{one}{one.model_dump()}{one.model_dump_json()}" for one in found.values()
    )
    assert SECRET not in shown
    assert "10.0.0.7" in shown
    assert read_connections(Settings()) == {}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "expected a mapping of 1 to 1,000 connections by name"),
        (f"- {SECRET}", "expected a mapping of 1 to 1,000 connections by name"),
        (f"a: [{SECRET}\n", "expected readable YAML"),
        (
            f"a: {{kind: envoy, kind: {SECRET}}}\n",
            "c.yaml:1: a.kind: expected each key once, this one is on line 1 already",
        ),
        (f"a: &a {{kind: envoy, {SECRET}: *a}}\n", "c.yaml:1: a.(not shown): expected readable"),
        (f"a: {{kind: envoy, admin: *{SECRET}}}\n", "c.yaml:1: a.admin: expected readable YAML"),
        (f"a: &a [{'x,' * 1000}]\nb: [{'*a,' * 1000}]\n", "more than 1,000,000 values"),
        (f"a: {'[' * 1100}", "expected readable YAML (more than 1000 levels"),
        (f"a: !!int {SECRET}\n", "expected readable YAML"),
        (f"a: {SECRET}\n", "c.yaml:1: a: expected a mapping of fields, its kind one of"),
        (f"a: [{SECRET}]\n", "c.yaml:1: a: expected a mapping of fields, its kind one of"),
        ("a: {url: http://x}\n", "c.yaml:1: a.kind: expected one of apprise, aws, caddy, docker, "),
        # A space that was forgotten makes a field of the secret.
        (
            f"a: {{kind: prometheus, url: http://x, token:{SECRET}}}\n",
            "c.yaml:1: a.(not shown): expected one of the fields ca_file,",
        ),
        (
            "a: {kind: prometheus, url: http://x, hush_5ecret}\n",
            "c.yaml:1: a.(not shown): expected one of the fields ca_file,",
        ),
        (
            "a: {kind: prometeus}\n",
            "; did you mean 'prom",
        ),
        ("A b: {kind: envoy}\n", "A b: expected a name of lower-case letters"),
        ("a: {kind: envoy}\n", "a.admin: expected a value (admin addresses of all Envoys)"),
        (
            f"a: {{kind: envoy, admin: ['http://u:{SECRET}@x:1']}}\n",
            "a.admin[0]: expected an Envoy's admin address, such as http://127.0.0.1:9901",
        ),
        (
            f"a:\n  kind: prometheus\n  url: http://x\n  tokn: {SECRET}\n",
            (
                "c.yaml:4: a.tokn: expected one of the fields ca_file, cert_file, key_file, "
                "password, password_file, token, token_file, url, user; did you mean 'token'?"
            ),
        ),
        (f"a: {{kind: prometheus, url: 'http://u:{SECRET}@x'}}\n", "a.url: expected its address"),
        (
            f"a: {{kind: prometheus, url: http://x, token: '{SECRET} é'}}\n",
            "a.token: expected ASCII without white space",
        ),
        (
            "a: {kind: prometheus, url: http://x, token: 1234}\n",
            "a.token: expected text, in quotes",
        ),
        ("a: {kind: prometheus, url: http://x, token: ''}\n", "a.token: expected some text"),
        (
            f"a: {{kind: prometheus, url: http://x, token: {SECRET}, token_file: /x}}\n",
            "a.token: expected it or token_file, and not both",
        ),
        (
            f"a: {{kind: prometheus, url: http://x, password: {SECRET}}}\n",
            "a: expected user and password beside each other",
        ),
        (
            f"a: {{kind: prometheus, url: http://x, user: u, password: {SECRET}, token: x}}\n",
            "a: expected a user or a token, and not both",
        ),
        (
            f"a: {{kind: prometheus, url: https://x, token: {SECRET}, ca_file: /none}}\n",
            "a: expected readable PEM files (/none)",
        ),
        ("".join(f"a{n}: {{kind: envoy}}\n" for n in range(40)), "and 20 more"),
        ("".join(f"a{n}: {{}}\n" for n in range(1001)), "c.yaml:1001: expected"),
        ("#" * 1_000_001, "expected a file of at most 1 MB"),
    ],
)
def test_what_is_wrong_is_told_without_any_value(tmp_path: Path, text: str, says: str) -> None:
    told = refused(tmp_path, text).replace(str(tmp_path / "connections.yaml"), "c.yaml")
    assert told.startswith("AVIARY_CONNECTIONS_FILE: ")
    assert says in told


def test_a_kind_that_cant_be_used_is_told_where_its_connection_is_unknown(
    tmp_path: Path, packages: Packages
) -> None:
    packages.install(
        "our_irc", "raise RuntimeError('no')", {"irc": "our_irc:IRC"}, "aviary.notifiers"
    )
    told = refused(tmp_path, "a: {kind: irc}\nb: {kind: irc}\n").splitlines()
    assert len(told) == 3
    assert "installed, but can't be used: irc: our_irc:IRC: RuntimeError: no" in told[-1]


def test_where_a_line_is_long_its_place_is_cut(tmp_path: Path) -> None:
    assert len(refused(tmp_path, f"a: {'[' * 1100}")) < 500


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(
        SettingsError, match="AVIARY_CONNECTIONS_FILE: '/none': expected a readable"
    ):
        read_connections(Settings(connections_file=Path("/none")))


def test_what_is_no_regular_file_is_refused_and_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(SettingsError, match=r"expected a regular file \(it is a pipe\)"):
        read_connections(Settings(connections_file=pipe))
    with pytest.raises(SettingsError, match="Is a directory"):
        read_connections(Settings(connections_file=tmp_path))
    with pytest.raises(SettingsError, match=r"regular file \(it is a device"):
        read_connections(Settings(connections_file=Path("/dev/zero")))
    text = f"m: {{kind: prometheus, url: http://x, token_file: {pipe}}}\n"
    found = connections(tmp_path, text)["m"]
    assert isinstance(found, HttpConnection)
    with pytest.raises(Retryable, match="it is a pipe"):
        found.access().authorization()


def test_a_secret_in_a_file_is_read_at_each_use(tmp_path: Path) -> None:
    file = tmp_path / "token"
    text = f"m: {{kind: prometheus, url: http://x, token_file: {file}}}\n"
    found = connections(tmp_path, text)["m"]
    assert isinstance(found, HttpConnection)
    with pytest.raises(Retryable, match="expected a readable secret"):
        found.access().authorization()
    for token in ("first", "second"):
        file.write_text(f"{token}\n")
        assert found.access().authorization() == f"Bearer {token}"


async def test_a_router_reaches_its_platform_by_a_connection(tmp_path: Path) -> None:
    known = connections(tmp_path, GOOD)
    router = {"kind": "envoy", "directory": str(tmp_path), "connection": "prod-eu"}
    catalog = make_catalog({"version": 1, "services": {"a": {"router": router}}}, known)
    spec = catalog.resolve("a").router
    assert spec.options == {"directory": str(tmp_path), "admin": None, "health_path": None}
    async with httpx.AsyncClient() as client:
        made: Any = make_router(spec, registry(), known, Shared(client)).router
    assert [str(admin._url) for admin in made._admins] == ["http://10.0.0.7:9901"]


@pytest.mark.parametrize(
    ("router", "says"),
    [
        (
            "connection: prod-e",
            (
                "got 'prod-e', expected a connection of kind envoy of AVIARY_CONNECTIONS_FILE "
                "(prod-eu); did you mean 'prod-eu'?"
            ),
        ),
        ("connection: metrics", "(prod-eu); it is of kind prometheus"),
        ("connection: prod-eu, admin: ['http://a:1']", "expected none, since the connection has"),
        ("connection: Prod", "a connection of the settings: lower-case letters, digits, _ and -"),
    ],
)
def test_a_connection_that_does_not_fit_is_an_error_of_the_catalog(
    tmp_path: Path, router: str, says: str
) -> None:
    path = tmp_path / "catalog.yaml"
    path.write_text(
        f"version: 1\nservices: {{a: {{router: {{kind: envoy, directory: /d, {router}}}}}}}\n"
    )
    with pytest.raises(CatalogError) as caught:
        read_catalog(path, connections(tmp_path, GOOD))
    assert says in str(caught.value)


def run(*args: str | Path) -> Result:
    return CliRunner().invoke(build_app(), [str(arg) for arg in args])


def test_validate_knows_the_connections_of_the_settings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, file = tmp_path / "catalog.yaml", tmp_path / "connections.yaml"
    router = "{kind: envoy, directory: /d, connection: prod-eu}"
    path.write_text(f"version: 1\nservices: {{a: {{router: {router}}}}}\n")
    assert "(there is none)" in run("validate", path).stderr
    file.write_text(GOOD)
    monkeypatch.setenv("AVIARY_CONNECTIONS_FILE", str(file))
    assert run("validate", path).exit_code == 0
    file.write_text(GOOD.replace("prod-eu", "prod-us"))
    done = run("validate", path, "--format", "json")
    assert done.exit_code == 2
    (problem,) = json.loads(done.stdout)[0]["problems"]
    assert (problem["path"], problem["line"]) == ("services.a.router.connection", 2)
    assert "did you mean 'prod-us'?" in problem["expected"]


def test_the_metrics_source_is_made_of_a_connection(tmp_path: Path) -> None:
    known = connections(tmp_path, GOOD)
    kind, source = make_source(Settings(metrics_connection="metrics"), registry(), known)
    source.close()
    assert kind.name == "prometheus"
    with pytest.raises(SettingsError) as caught:
        make_source(Settings(metrics_connection="metric"), registry(), known)
    assert str(caught.value) == (
        "AVIARY_METRICS_CONNECTION: got 'metric', expected a connection of kind prometheus of "
        "AVIARY_CONNECTIONS_FILE (metrics); did you mean 'metrics'?"
    )
    kind, source = make_source(Settings(), registry(), known)
    source.close()


def test_a_metrics_source_that_is_not_there_is_an_error_of_the_settings() -> None:
    with pytest.raises(SettingsError) as caught:
        make_source(Settings(metrics_source="promethus"), registry(), {})
    assert str(caught.value) == (
        "AVIARY_METRICS_SOURCE: got 'promethus', expected one of: prometheus; "
        "did you mean 'prometheus'?"
    )


SOURCE = """
from adapters.connections import Connection
from adapters.kinds import MetricsKind
from adapters.memory import MemoryMetricsSource
from adapters.secrets import Secret


class Platform(Connection):
    connection_kind = "datadog"

    site: str
    api_key: Secret


class Silent(MemoryMetricsSource):
    async def query(self, promql, at):
        raise ValueError(f"GET {self.site}?key={self.key}")

    def close(self):
        pass


def make(connection, timeout_s):
    made = Silent()
    made.site, made.key = connection.site, connection.api_key.read()
    if made.site == "nowhere":
        raise ValueError(f"nowhere with {made.key}")
    return made


DATADOG = MetricsKind(
    name="datadog", text="Another's.", connection=Platform, needs_connection=True, make=make
)
"""


async def test_an_installed_source_has_the_rights_of_our_own(
    tmp_path: Path, packages: Packages
) -> None:
    from datetime import UTC, datetime  # noqa: PLC0415

    packages.install("dd", SOURCE, {"datadog": "dd:DATADOG"}, group="aviary.metrics")
    text = f"dd: {{kind: datadog, site: x, api_key: {SECRET}}}\n"
    known = connections(tmp_path, text)
    settings = Settings(metrics_source="datadog", metrics_connection="dd")
    kind, source = make_source(settings, registry(), known)
    assert not kind.joins
    with pytest.raises(RuntimeError, match=r"GET x\?key=\(hidden\)"):
        await source.query("up", datetime.now(UTC))
    with pytest.raises(SettingsError, match="expected a connection for AVIARY_METRICS_SOURCE=data"):
        make_source(Settings(metrics_source="datadog"), registry(), known)
    nowhere = connections(tmp_path, text.replace("site: x", "site: nowhere"))
    with pytest.raises(SettingsError, match=r"nowhere with \(hidden\)") as caught:
        make_source(settings, registry(), nowhere)
    assert SECRET not in str(caught.value)


def test_a_connection_that_tells_people_is_a_channel(tmp_path: Path) -> None:
    known = connections(tmp_path, GOOD)
    assert sorted(open_channels(Settings(), known)) == ["oncall"]
    lines = "oncall = json://example.com/x\ndeploys = json://example.com/y"
    with pytest.raises(SettingsError, match="oncall: expected another name"):
        open_channels(Settings.model_validate({"notify_channels": lines}), known)
    wrong = connections(tmp_path, f"oncall: {{kind: apprise, url: 'nosuch://{SECRET}'}}\n")
    with pytest.raises(SettingsError, match="oncall: expected a URL that Apprise takes") as caught:
        open_channels(Settings(), wrong)
    assert SECRET not in str(caught.value)
