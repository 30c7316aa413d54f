"""What the chart makes of its values, and that there is one source of each thing in it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import typer
import yaml

from aviary.access_settings import variable
from aviary.cli import build_app
from aviary.local.kubernetes.clients import ClientTools
from aviary.settings import Settings
from tests.kubernetes.chart.rendering import (
    BASE,
    CHART,
    ROOT,
    Json,
    by_name,
    render,
    run,
    without_helm,
)

COMPONENTS = ("worker", "bridge", "webhook", "watcher")
ALL = (
    "watcher.enabled=true",
    "rbac.istio=true",
    "serviceMonitor.enabled=true",
    "prometheusRule.enabled=true",
    "catalog.content.version=1",
)
HOW_TO = {
    "deployer": "kubernetes",
    "gateway-api": "gateway-api",
    "istio": "istio",
    "watcher": "gitops",
}


def values(*said: str) -> list[str]:
    return [word for one in said for word in ("--set", one)]


def deployments(things: list[Json]) -> dict[str, Json]:
    return {
        one["metadata"]["labels"]["app.kubernetes.io/component"]: one
        for one in things
        if one["kind"] == "Deployment"
    }


def variables(deployment: Json) -> dict[str, str]:
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    return {one["name"]: one["value"] for one in container["env"]}


def test_helm_has_nothing_to_say_against_it(clients: ClientTools) -> None:
    done = run(clients.helm, "lint", "--strict", CHART, *values(*ALL))
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_kustomize_base_is_the_chart_with_its_own_values(clients: ClientTools) -> None:
    done = run(clients.kubectl, "kustomize", BASE)
    assert done.returncode == 0, done.stderr
    base = by_name(list(yaml.safe_load_all(done.stdout)))
    again = "run python -m tests.kubernetes.chart.rendering"
    assert base == by_name([without_helm(one) for one in render(clients)]), again


@pytest.mark.parametrize("rules", HOW_TO)
def test_the_rules_of_a_role_are_those_that_its_page_tells(rules: str) -> None:
    """Whether each verb of a page is needed, and all are enough, tests of its adapter try."""
    page = (ROOT / f"docs/how-to/{HOW_TO[rules]}.md").read_text()
    blocks = [yaml.safe_load(one) for one in re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)]
    (told,) = (one["rules"] for one in blocks if _is_role(one))
    assert yaml.safe_load((CHART / f"files/rules/{rules}.yaml").read_text()) == told


def _is_role(block: object) -> bool:
    return isinstance(block, dict) and "verbs" in (block.get("rules") or [{}])[0]


def test_a_role_has_the_rules_that_are_asked_for_in_each_namespace(clients: ClientTools) -> None:
    names = values("rbac.namespaces={shop,crew}", "rbac.deployer=false", "rbac.istio=true")
    things = render(clients, *names)
    roles = {one["metadata"]["namespace"]: one["rules"] for one in things if one["kind"] == "Role"}
    wanted = [
        rule
        for name in ("gateway-api", "istio")
        for rule in yaml.safe_load((CHART / f"files/rules/{name}.yaml").read_text())
    ]
    assert roles == {"shop": wanted, "crew": wanted}
    bound = [one for one in things if one["kind"] == "RoleBinding"]
    assert {one["subjects"][0]["namespace"] for one in bound} == {"aviary"}
    nothing = ("rbac.deployer=false", "rbac.gatewayApi=false")
    assert not [one for one in render(clients, *values(*nothing)) if "Role" in one["kind"]]


def test_the_alerts_are_those_that_are_shipped(clients: ClientTools) -> None:
    (made,) = (one for one in render(clients, *values(*ALL)) if one["kind"] == "PrometheusRule")
    shipped = yaml.safe_load((ROOT / "deploy/prometheus/aviary-alerts.yml").read_text())
    assert made["spec"] == shipped


def test_every_variable_is_a_setting_and_what_values_say_wins(clients: ClientTools) -> None:
    said = ("settings.AVIARY_LOG_FORMAT=console", "settings.AVIARY_JUDGING_SLOTS=7")
    found = deployments(render(clients, *values(*ALL, *said)))
    assert set(found) == set(COMPONENTS)
    known = {variable(name) for name in Settings.model_fields}
    for deployment in found.values():
        told = variables(deployment)
        assert set(told) <= known
        assert (told["AVIARY_LOG_FORMAT"], told["AVIARY_JUDGING_SLOTS"]) == ("console", "7")


def test_every_component_is_a_command_and_runs_as_the_images_user(clients: ClientTools) -> None:
    command = typer.main.get_command(build_app())
    dockerfile = (ROOT / "Dockerfile").read_text()
    for deployment in deployments(render(clients, *values(*ALL))).values():
        pod = deployment["spec"]["template"]["spec"]
        (container,) = pod["containers"]
        found: object = command
        for word in container["args"]:
            found = getattr(found, "commands", {})[word]
        assert f"USER {pod['securityContext']['runAsUser']}:" in dockerfile
        assert pod["enableServiceLinks"] is False
        assert container["securityContext"]["readOnlyRootFilesystem"] is True


def test_only_who_drives_the_cluster_has_a_token(clients: ClientTools) -> None:
    found = deployments(render(clients, *values(*ALL)))
    mounted = {
        component: one["spec"]["template"]["spec"]["automountServiceAccountToken"]
        for component, one in found.items()
    }
    assert mounted == {"worker": True, "bridge": False, "webhook": False, "watcher": True}
    accounts = {one["spec"]["template"]["spec"]["serviceAccountName"] for one in found.values()}
    assert accounts == {"aviary", "aviary-worker", "aviary-watcher"}


def test_a_file_of_a_secret_is_where_its_variable_says_and_only_for_whom(
    clients: ClientTools,
) -> None:
    said = (
        "files.AVIARY_KAFKA_SASL_PASSWORD_FILE.secret=kafka",
        "files.AVIARY_KAFKA_SASL_PASSWORD_FILE.key=pass.word",
    )
    for component, deployment in deployments(render(clients, *values(*said))).items():
        pod = deployment["spec"]["template"]["spec"]
        (files,) = (one["projected"] for one in pod["volumes"] if one["name"] == "files")
        placed = {
            f"/run/aviary/{source['secret']['items'][0]['path']}": source["secret"]["name"]
            for source in files["sources"]
        }
        told = {path for name, path in variables(deployment).items() if name.endswith("_FILE")}
        assert set(placed) == told
        assert set(placed.values()) == {"kafka", *(["aviary-webhook"] * (component == "webhook"))}


@pytest.mark.parametrize(
    ("said", "text"),
    [
        ("settings.AVIARY_WEBHOOK_TOKEN=s3cr3t-s3cr3t-s3cr3t", "AVIARY_WEBHOOK_TOKEN"),
        ("settings.AVIARY_TEMPORAL_API_KEY=s3cr3t", "AVIARY_TEMPORAL_API_KEY"),
        ("settings.AVIARY_NOTIFY_CHANNELS=s3cr3t", "AVIARY_NOTIFY_CHANNELS"),
        ("settings.AVIARY_HOOK_ANSWER_SECRET=s3cr3t", "AVIARY_HOOK_ANSWER_SECRET"),
        ("settings.AVIARY_KAFKA_SASL_PASSWORD=s3cr3t", "AVIARY_KAFKA_SASL_PASSWORD"),
        ("settings.OTEL_EXPORTER_OTLP_HEADERS=s3cr3t", "OTEL_EXPORTER_OTLP_HEADERS"),
        ("settings.PATH=/bin", "PATH"),
        ("prometheus.url=http://ann:s3cr3t@prometheus:9090", "/prometheus/url"),
        ("files.AVIARY_KAFKA_SASL_PASSWORD_FILE.key=a", "AVIARY_KAFKA_SASL_PASSWORD_FILE"),
        ("temporal.address=temporal", "/temporal/address"),
        ("kafka.bootstrap=one:9092;two", "/kafka/bootstrap"),
        ("image.tag=a b", "/image/tag"),
        ("rbac.namespaces={Shop}", "/rbac/namespaces"),
        ("worker.replicas=-1", "/worker/replicas"),
        ("watcher.replicas=2", "/watcher/replicas"),
        ("sentinel.enabled=true", "sentinel"),
    ],
)
def test_what_does_not_fit_is_refused_by_its_place(
    clients: ClientTools, said: str, text: str
) -> None:
    done = run(clients.helm, "template", "aviary", CHART, *values(said))
    assert done.returncode != 0
    assert text in done.stderr


def test_every_secret_that_a_variable_can_hold_is_refused_as_a_value() -> None:
    schema = json.loads((CHART / "values.schema.json").read_text())
    hidden = re.compile(schema["properties"]["settings"]["propertyNames"]["not"]["pattern"])
    files = re.compile(schema["properties"]["files"]["propertyNames"]["pattern"])
    for name in Settings.model_fields:
        if f"{name}_file" in Settings.model_fields or name == "notify_channels":
            assert hidden.search(variable(name)) or name.endswith(("_ca", "_cert", "_key")), name
        if name.endswith("_file"):
            assert files.search(variable(name)), name


@pytest.mark.parametrize(
    ("image", "name"),
    [
        ("tag=1.4.2", "aviary-worker-1-4-2"),
        ("tag=v1.4.2_rc.1", "aviary-worker-v1-4-2-rc-1-[0-9a-f]{8}"),
        ("tag=Main", "aviary-worker-main-[0-9a-f]{8}"),
        (f"tag={'x' * 128}", "aviary-worker-x{15}-[0-9a-f]{8}"),
        (f"digest=sha256:{'ab' * 32}", "aviary-worker-abababababab"),
    ],
)
def test_workers_of_each_image_have_a_name_of_their_own(
    clients: ClientTools, image: str, name: str
) -> None:
    worker = deployments(render(clients, *values(f"image.{image}")))["worker"]
    assert re.fullmatch(name, worker["metadata"]["name"])
    assert worker["metadata"]["annotations"]["helm.sh/resource-policy"] == "keep"
    selected = worker["spec"]["selector"]["matchLabels"]
    assert selected.items() <= worker["spec"]["template"]["metadata"]["labels"].items()
    assert worker["metadata"]["name"].endswith(selected["aviary.dev/worker"])


def test_a_network_policy_opens_the_ports_that_values_name(clients: ClientTools) -> None:
    said = (
        "kafka.bootstrap=one:9094\\, two:9095",
        "temporal.address=temporal:17233",
        "prometheus.url=https://thanos.example",
        "alertmanager.url=http://alerts.example/prefix",
        "networkPolicy.apiPorts={6444}",
    )
    things = render(clients, *values("watcher.enabled=true", *said))
    found = {
        one["metadata"]["name"]: {port["port"] for port in one["spec"]["egress"][0]["ports"]}
        for one in things
        if one["kind"] == "NetworkPolicy"
    }
    kafka = {53, 9094, 9095}
    assert found == {
        "aviary-worker": kafka | {17233, 443, 80, 6444},
        "aviary-bridge": kafka | {17233},
        "aviary-webhook": kafka,
        "aviary-watcher": kafka | {6444},
    }


def test_one_of_a_component_can_be_drained(clients: ClientTools) -> None:
    def budgets(*said: str) -> set[str]:
        things = render(clients, *values(*said))
        return {one["metadata"]["name"] for one in things if one["kind"] == "PodDisruptionBudget"}

    assert budgets() == {"aviary-worker", "aviary-bridge", "aviary-webhook"}
    assert budgets("worker.replicas=1", "webhook.enabled=false") == {"aviary-bridge"}


def test_a_catalog_of_the_values_is_that_of_its_map(clients: ClientTools, tmp_path: Path) -> None:
    catalog = {"version": 1, "services": {"ledger": {"depends_on": []}}}
    file = tmp_path / "values.yaml"
    file.write_text(yaml.safe_dump({"catalog": {"content": catalog}}))
    things = render(clients, "--values", str(file))
    (made,) = (one for one in things if one["kind"] == "ConfigMap")
    assert yaml.safe_load(made["data"]["catalog.yaml"]) == catalog
    assert not [one for one in render(clients) if one["kind"] == "ConfigMap"]
