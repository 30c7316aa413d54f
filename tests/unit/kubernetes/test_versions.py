"""What a version is called, and how its Deployment is made of a team's template."""

from __future__ import annotations

import copy
import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.deployers.kubernetes import labels
from adapters.deployers.kubernetes.beside import holds
from adapters.deployers.kubernetes.options import KubernetesOptions
from adapters.deployers.kubernetes.template import deployment_of
from adapters.errors import Terminal
from adapters.kubernetes.templates import DEFAULT_CONTAINER
from schemas.deployment import WantedVersion

SERVICES = st.from_regex(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
VERSIONS = st.from_regex(r"[A-Za-z0-9][A-Za-z0-9.+_-]{0,127}", fullmatch=True) | st.from_regex(
    r"sha256:[0-9a-f]{64}", fullmatch=True
)
DNS = re.compile(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?")
LABEL = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")


@given(SERVICES, VERSIONS)
def test_every_version_has_a_name_that_the_cluster_takes(service: str, version: str) -> None:
    name = labels.name_of(service, version)
    assert DNS.fullmatch(f"{name}-123456"), "also with the digest of what it is made of"
    assert LABEL.fullmatch(labels.value(version))


@given(SERVICES, VERSIONS, VERSIONS)
def test_two_versions_have_two_names(service: str, one: str, other: str) -> None:
    if one != other:
        assert labels.name_of(service, one) != labels.name_of(service, other)
        assert labels.value(one) != labels.value(other)


@pytest.mark.parametrize(
    ("version", "name"),
    [
        ("1.4.2", "checkout-1-4-2"),
        ("v7", "checkout-v7"),
        ("1-4-2", "checkout-1-4-2-[0-9a-f]{8}"),
        ("V7", "checkout-v7-[0-9a-f]{8}"),
    ],
)
def test_a_name_is_the_version_with_hyphens(version: str, name: str) -> None:
    assert re.fullmatch(name, labels.name_of("checkout", version))


def template() -> dict[str, Any]:
    """One with all that a team may have."""
    container = {
        "name": "app",
        "image": "registry.example:5000/shop/checkout:1.4.1",
        "ports": [{"name": "http", "containerPort": 8080}, {"name": "admin", "containerPort": 9}],
        "env": [{"name": "A", "value": "1"}, {"name": "B", "valueFrom": {"secretKeyRef": {}}}],
        "readinessProbe": {"httpGet": {"path": "/healthz", "port": "http"}},
        "fieldOfTomorrow": {"kept": True},
    }
    return {
        "metadata": {
            "name": "checkout",
            "uid": "u",
            "resourceVersion": "7",
            "ownerReferences": [{}],
            "labels": {
                "app": "checkout",
                "app.kubernetes.io/instance": "shop",
                "aviary.dev/template": "true",
            },
            "annotations": {
                "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/checkout",
                "kubectl.kubernetes.io/last-applied-configuration": "{}",
                "team.example/room": "7",
            },
        },
        "spec": {
            "replicas": 0,
            "minReadySeconds": 5,
            "paused": True,
            "strategy": {"type": "RollingUpdate"},
            "selector": {"matchLabels": {"app": "checkout"}},
            "template": {
                "metadata": {
                    "labels": {"app": "checkout", "app.kubernetes.io/version": "1.4.1"},
                    "annotations": {"prometheus.io/scrape": "true"},
                },
                "spec": {
                    "containers": [container],
                    "serviceAccountName": "checkout",
                    "affinity": {"podAntiAffinity": {}},
                    "volumes": [{"name": "tmp", "emptyDir": {}}],
                },
            },
        },
        "status": {"replicas": 0},
    }


def wanted(**more: Any) -> WantedVersion:
    fields = {"service": "checkout", "version": "1.4.2", "release": "r1", "generation": 7}
    return WantedVersion.model_validate(fields | more)


def made(order: WantedVersion, given: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    options = KubernetesOptions.model_validate(more)
    return deployment_of(given or template(), order, options, "shop")


def test_all_is_kept_but_the_image_and_the_versions() -> None:
    before = template()
    found = made(wanted(), before)
    assert before == template(), "and the template is not touched"
    pods, kept = found["spec"]["template"], template()["spec"]["template"]
    kept["spec"]["containers"][0]["image"] = "registry.example:5000/shop/checkout:1.4.2"
    assert pods["spec"] == kept["spec"]
    assert pods["metadata"]["annotations"] == {
        "prometheus.io/scrape": "true",
        "aviary.dev/version": "1.4.2",
    }
    ours = {
        "aviary.dev/owner": "shop",
        "aviary.dev/service": "checkout",
        "aviary.dev/version": "1.4.2",
        "aviary.dev/made-of": wanted().made_of,
    }
    versions = {"version": "1.4.2", "app.kubernetes.io/version": "1.4.2"}
    assert pods["metadata"]["labels"] == {"app": "checkout", **versions, **ours}
    assert found["spec"]["selector"]["matchLabels"] == {"app": "checkout", **ours}
    assert (found["spec"]["replicas"], found["spec"]["minReadySeconds"]) == (0, 5)
    assert found["spec"].keys() == {
        "minReadySeconds", "strategy", "replicas", "selector", "template",
    }  # fmt: skip


def test_what_tools_know_their_own_objects_by_is_left_out() -> None:
    about = made(wanted())["metadata"]
    assert about.keys() == {"labels", "annotations"}
    assert about["labels"].keys().isdisjoint({"app.kubernetes.io/instance", "aviary.dev/template"})
    assert about["labels"]["app"] == "checkout"
    left = {name for name in about["annotations"] if not name.startswith("aviary.dev/")}
    assert left == {"team.example/room"}
    assert about["annotations"]["aviary.dev/generation"] == "7"
    assert about["annotations"]["aviary.dev/release"] == "r1"
    assert about["annotations"]["aviary.dev/port"] == "8080"


@pytest.mark.parametrize(
    ("more", "options", "image"),
    [
        ({}, {}, "registry.example:5000/shop/checkout:1.4.2"),
        ({}, {"image": "other/{version}"}, "other/1.4.2"),
        ({"image": "event@sha256:0"}, {"image": "other/{version}"}, "event@sha256:0"),
    ],
)
def test_the_image_is_the_event_s_the_recipe_s_or_the_template_s(
    more: dict[str, Any], options: dict[str, Any], image: str
) -> None:
    containers = made(wanted(**more), **options)["spec"]["template"]["spec"]["containers"]
    assert containers[0]["image"] == image


def test_settings_of_the_event_stand_in_place_of_those_of_the_same_name() -> None:
    found = made(wanted(config={"B": "2", "C": "3"}))["spec"]["template"]["spec"]
    assert found["containers"][0]["env"] == [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "2"},
        {"name": "C", "value": "3"},
    ]


@pytest.mark.parametrize(("port", "told"), [(None, "8080"), ("admin", "9"), (7, "7")])
def test_a_port_is_found_by_name_or_number(port: str | int | None, told: str) -> None:
    options: dict[str, Any] = {} if port is None else {"port": port}
    assert made(wanted(), **options)["metadata"]["annotations"]["aviary.dev/port"] == told


def two() -> dict[str, Any]:
    given = template()
    given["spec"]["template"]["spec"]["containers"].append({"name": "mesh", "image": "mesh:1"})
    return given


def test_of_several_containers_the_one_that_is_meant_gets_the_image() -> None:
    given = two()
    with pytest.raises(Terminal, match="the template has app, mesh"):
        made(wanted(), given)
    with pytest.raises(Terminal, match="expected nobody"):
        made(wanted(), given, container="nobody")
    by_recipe = made(wanted(), given, container="mesh")
    assert by_recipe["spec"]["template"]["spec"]["containers"][1]["image"] == "mesh:1.4.2"
    given["spec"]["template"]["metadata"]["annotations"][DEFAULT_CONTAINER] = "app"
    by_annotation = made(wanted(), given)["spec"]["template"]["spec"]["containers"]
    assert [one["image"].rpartition(":")[2] for one in by_annotation] == ["1.4.2", "1"]


@pytest.mark.parametrize(
    ("image", "version", "words"),
    [
        ("shop@sha256:0", "1.4.2", "no tag in whose place"),
        ("shop:1", "1.4.2+b7", "can't be a tag"),
        ("", "1.4.2", "no tag"),
    ],
)
def test_an_image_that_can_not_be_known_is_asked_for(image: str, version: str, words: str) -> None:
    given = template()
    given["spec"]["template"]["spec"]["containers"][0]["image"] = image
    with pytest.raises(Terminal, match=words):
        made(wanted(version=version), given)


def test_what_is_there_besides_does_not_matter() -> None:
    spec = {"ports": [{"port": 80, "name": "web"}], "type": "ClusterIP"}
    there = copy.deepcopy(spec) | {"clusterIP": "10.96.0.7"}
    there["ports"][0]["protocol"] = "TCP"  # type: ignore[index]
    assert holds(there, spec)
    assert not holds(there, spec | {"type": "NodePort"})
    assert not holds({**there, "ports": []}, spec)
