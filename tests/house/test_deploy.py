"""The configuration that the compose stack mounts, checked by the programs that read it."""

import subprocess
from pathlib import Path

import pytest
import yaml

from adapters.routers.envoy import EnvoyOptions
from adapters.routers.envoy.fleet import EnvoyFleet
from aviary.catalogs import read_catalog
from aviary.local import debian, parts, probes
from aviary.local.ports import FreePorts
from aviary.local.process import ChildSpec, Supervisor

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def attempt(*command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    return subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, check=False
    )


def run(*command: str | Path) -> str:
    """Run a checker; what it printed, if it was content."""
    done = attempt(*command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


@pytest.fixture
async def tools() -> debian.DebianTools:
    """Debian's programs, below the cache folder as `make install` leaves them."""
    return await debian.install(debian.cache_folder())


def test_prometheus_reads_its_configuration(tools: debian.DebianTools) -> None:
    run(tools.promtool, "check", "config", DEPLOY / "prometheus/prometheus.yml")


def test_alerts_fire_for_the_version_that_fails(tools: debian.DebianTools) -> None:
    assert "4 rules found" in run(tools.promtool, "check", "rules", DEPLOY / "prometheus/rules.yml")
    run(tools.promtool, "test", "rules", DEPLOY / "prometheus/rules_test.yml")


def test_alertmanager_reads_its_configuration(tools: debian.DebianTools) -> None:
    amtool = tools.root / "usr/bin/amtool"
    file = DEPLOY / "alertmanager/alertmanager.yml"
    run(amtool, "check-config", file)
    routed = run(amtool, "config", "routes", "test", f"--config.file={file}", "service=checkout")
    assert routed.splitlines()[0] == "aviary,people", "people hear of what Aviary hears of"


def test_envoy_reads_what_the_init_container_writes(tmp_path: Path) -> None:
    script = (DEPLOY / "envoy/init.py").read_text()
    assert "9901,\n    10000," in script
    bootstrap = EnvoyFleet(tmp_path).bootstrap(
        9901, 10000, admin_host="0.0.0.0", listener_host="0.0.0.0"
    )
    assert "OK" in run(parts.envoy_program(), "--mode", "validate", "-c", bootstrap)
    assert f"/var/lib/aviary/envoy/{bootstrap.name}" in (ROOT / "docker-compose.yml").read_text()


async def test_envoys_health_check_tells_ready_from_not(tmp_path: Path) -> None:
    free = FreePorts()
    admin, unused = free.take(), free.take()
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    _, *check = compose["services"]["envoy"]["healthcheck"]["test"]
    assert "9901" in check[-1]
    bootstrap = EnvoyFleet(tmp_path / "envoy").bootstrap(admin, free.take())
    command = (str(parts.envoy_program()), "-c", str(bootstrap), "--disable-hot-restart")
    async with Supervisor(tmp_path) as supervisor:
        await supervisor.start(ChildSpec("envoy", command, probe=probes.http(admin, "/ready")))
        run(*(part.replace("9901", str(admin)) for part in check))
        assert attempt(*(part.replace("9901", str(unused)) for part in check)).returncode != 0


def test_catalog_of_the_stack_is_valid_and_names_its_parts() -> None:
    catalog = read_catalog(DEPLOY / "catalog.yaml")
    router = catalog.resolve("checkout").router
    assert router.kind == "envoy"
    assert router.options["directory"] == "/var/lib/aviary/envoy"
    admin = EnvoyOptions.model_validate(router.options).admin or ()
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    assert [url for url in admin if url.split("//")[1].split(":")[0] in compose["services"]]


@pytest.mark.parametrize("name", ["schema.sh", "namespace.sh"])
def test_scripts_are_shell(name: str) -> None:
    assert run("sh", "-n", DEPLOY / "temporal" / name) == ""
