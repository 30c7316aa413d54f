"""What a package URL says of a version and its image."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from schemas.deploy import Images, parse_deploy
from schemas.purl import image_of, version_of

DIGEST = "sha256:" + "a" * 64
ESCAPED = DIGEST.replace(":", "%3A")


@pytest.mark.parametrize(
    ("purl", "version", "image"),
    [
        ("pkg:oci/checkout@1.4.2", "1.4.2", None),
        (
            "pkg:oci/checkout@1.4.2?repository_url=registry.example/shop/checkout",
            "1.4.2",
            "registry.example/shop/checkout:1.4.2",
        ),
        (
            f"pkg:oci/checkout@{ESCAPED}?repository_url=registry.example:5000/checkout&tag=1.4",
            "1.4",
            f"registry.example:5000/checkout@{DIGEST}",
        ),
        (
            "pkg:oci/checkout?repository_url=https://registry.example/checkout/&tag=7",
            "7",
            "registry.example/checkout:7",
        ),
        ("pkg:npm/checkout@1.4.2?repository_url=registry.example/checkout", "1.4.2", None),
        ("pkg:oci/checkout@1.4.2?repository_url=not%20one", "1.4.2", None),
        ("checkout:1.4.2", "", None),
        ("PKG:npm/@shop/checkout@1.4.2", "1.4.2", None),
        ("pkg:npm/@shop/checkout", "", None),
        ("pkg:npm/%40shop/checkout@1.4.2#src@2", "1.4.2", None),
        (
            f"pkg:OCI/checkout@{ESCAPED}?repository_url=registry.example/checkout",
            DIGEST,
            f"registry.example/checkout@{DIGEST}",
        ),
    ],
)
def test_a_package_url_is_read(purl: str, version: str, image: str | None) -> None:
    assert version_of(purl) == version
    assert image_of(purl) == image


@given(st.text(max_size=300))
def test_any_text_is_read_or_is_none(text: str) -> None:
    for purl in (text, f"pkg:oci/{text}", f"pkg:oci/a@1?repository_url={text}"):
        assert isinstance(version_of(purl), str)
        image = image_of(purl)
        assert image is None or " " not in image


def test_an_event_of_cdevents_mentions_its_image() -> None:
    purl = "pkg:oci/checkout@1.4.2?repository_url=registry.example/checkout"
    content = {"environment": {"id": "prod"}, "artifactId": purl}
    event = {
        "specversion": "1.0",
        "type": "dev.cdevents.service.deployed.0.2.0",
        "source": "/ci",
        "id": "1",
        "data": {"subject": {"id": "checkout", "content": content}},
    }
    found = parse_deploy(json.dumps(event).encode())
    assert found.images is Images.MENTIONED
    assert found.deploy.services[0].image == "registry.example/checkout:1.4.2"
