"""What a template asks for: a function of the object, whatever is written on it."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from aviary.watching.templates import (
    Key,
    UnusableError,
    read_template,
    reference_of,
    service_of,
)
from schemas.base import Version
from tests.hostile import TEXTS
from tests.unit.watching.parts import deployment

SUM = "sha256:" + "4f" * 32


def read(thing: dict[str, Any]) -> Any:
    return read_template(thing, service_of(thing), None)


@pytest.mark.parametrize(
    ("image", "begins"),
    [
        ("registry.example:5000/shop/checkout:1.4.2", "1.4.2-"),
        (f"registry.example/shop/checkout:1.4.2@{SUM}", "1.4.2-"),
        (f"registry.example/shop/checkout@{SUM}", "4f4f4f4f4f4f-"),
        ("checkout:" + "x" * 128, "x" * 100 + "-"),
    ],
)
def test_the_version_is_the_tag_and_what_tells_its_specification(image: str, begins: str) -> None:
    found = read(deployment(image=image))
    assert found.version.startswith(begins)
    assert found.image == image
    assert read(deployment(image=image, env="other")).version != found.version
    TypeAdapter(Version).validate_python(found.version)


@pytest.mark.parametrize("image", ["checkout", "shop/checkout:", "checkout:_1", "checkout@sha1:0"])
def test_an_image_that_names_no_version_is_refused(image: str) -> None:
    with pytest.raises(UnusableError, match=r"image: got .*, expected"):
        read(deployment(image=image))


def test_what_tools_write_on_pods_is_no_new_version() -> None:
    plain, marked = deployment(), deployment(replicas=3, generation=7)
    marked["spec"]["template"]["metadata"]["annotations"] = {
        "aviary.dev/revision": "f913b6c",
        "argocd.argoproj.io/tracking-id": "shop:apps/Deployment:shop/checkout",
    }
    assert read(plain).version == read(marked).version


def test_a_restart_is_a_new_version() -> None:
    marked = deployment()
    restarted = {"kubectl.kubernetes.io/restartedAt": "2026-11-01T12:00:00Z"}
    marked["spec"]["template"]["metadata"]["annotations"] = restarted
    assert read(marked).version != read(deployment()).version


def test_a_pod_template_is_one_as_well() -> None:
    thing = deployment()
    thing = {
        "kind": "PodTemplate",
        "metadata": thing["metadata"],
        "template": thing["spec"]["template"],
    }
    assert read(thing).version.startswith("1.4.2-")
    assert reference_of(thing).kind == "PodTemplate"


def test_annotations_say_the_service_the_version_and_the_release() -> None:
    said = {
        "aviary.dev/service": "cart",
        "aviary.dev/version": "2.0",
        "aviary.dev/release": "shop-42",
        "aviary.dev/revision": "f913b6c",
    }
    found = read(deployment(annotations=said))
    assert (found.service, found.version) == ("cart", "2.0")
    assert found.key == Key("shop-42", is_release=True)
    del said["aviary.dev/release"]
    assert read(deployment(annotations=said)).key == Key("f913b6c")


@pytest.mark.parametrize("name", ["service", "version", "release"])
@pytest.mark.parametrize("text", [*TEXTS.values(), "", "-", "a" * 129], ids=range(len(TEXTS) + 3))
def test_hostile_annotations_are_refused_with_field_value_and_expectation(
    name: str, text: str
) -> None:
    with pytest.raises(UnusableError, match=rf"aviary\.dev/{name}\]: got .*, expected"):
        read(deployment(annotations={f"aviary.dev/{name}": text}))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=10,
)


@given(st.text(), st.text(), st.dictionaries(st.text(max_size=20), st.text()), _JSON)
def test_whatever_is_written_is_read_or_refused(
    name: str, image: str, annotations: dict[str, str], env: Any
) -> None:
    thing = deployment(name, image, annotations=annotations)
    thing["spec"]["template"]["spec"]["containers"][0]["env"] = env
    try:
        version = read(thing).version
    except UnusableError as error:
        version, said = "", str(error)
        assert re.search(r": got .*, expected ", said, re.DOTALL)
    if version:
        TypeAdapter(Version).validate_python(version)


def test_several_containers_need_a_word() -> None:
    thing = deployment()
    thing["spec"]["template"]["spec"]["containers"].append({"name": "proxy", "image": "p:1"})
    with pytest.raises(UnusableError, match="expected one called checkout, or container in the"):
        read(thing)
    assert read_template(thing, "checkout", "proxy").version.startswith("1-")
