"""Prometheus' text format: read as it is written, and refused where it is something else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.exposition import read_exposition

TEXT = """\
# TYPE envoy_cluster_upstream_rq_xx counter
envoy_cluster_upstream_rq_xx{envoy_response_code_class="2",envoy_cluster_name="a@1"} 23

up 1 1767225600000
time_bucket{le="+Inf", } 1.5e3\r
odd{text="a\\"b\\\\c\\nd}, e=\\"f\\""} NaN
"""


def test_every_series_is_read_with_the_labels_of_who_asks() -> None:
    found = read_exposition(TEXT.encode(), {"instance": "envoy:9901"})
    assert [(one.labels.pop("__name__"), one.labels, one.value) for one in found[:3]] == [
        (
            "envoy_cluster_upstream_rq_xx",
            {
                "envoy_response_code_class": "2",
                "envoy_cluster_name": "a@1",
                "instance": "envoy:9901",
            },
            23.0,
        ),
        ("up", {"instance": "envoy:9901"}, 1.0),
        ("time_bucket", {"le": "+Inf", "instance": "envoy:9901"}, 1500.0),
    ]
    assert found[3].labels["text"] == 'a"b\\c\nd}, e="f"'
    assert found[3].value != found[3].value


@pytest.mark.parametrize(
    "line",
    [
        "<html>",
        "name",
        "name one",
        "name 1_000",
        'name{le="1} 2',
        'name{le="1"x="2"} 3',
        "name{le=1} 2",
        '{"error": "no"}',
        "name 1 2 3",
        "name" + " " * 30_000 + "1",
        "name{" + 'a="b",' * 10_000 + "} 1",
    ],
)
def test_what_is_not_of_the_format_is_refused_and_shown(line: str) -> None:
    with pytest.raises(ValueError, match="expected") as caught:
        read_exposition(f"up 1\n{line}\n".encode(), {})
    assert len(str(caught.value)) < 300


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(content: bytes) -> None:
    try:
        found = read_exposition(content, {})
    except ValueError:
        return
    assert all(one.labels["__name__"] for one in found)


@given(st.text(max_size=30), st.floats(allow_nan=False))
def test_what_is_written_is_read(label: str, value: float) -> None:
    written = label.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    (one,) = read_exposition(f'a{{b="{written}"}} {value!r}\n'.encode(errors="replace"), {})
    assert one.labels["b"] == label.encode(errors="replace").decode()
    assert one.value == value
