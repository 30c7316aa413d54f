"""The how-to's Python does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "routers.md"


def test_setting_up_as_described_makes_a_configuration_of_envoy(tmp_path: Path) -> None:
    (block,) = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict[str, Any] = {}
    exec(compile(block.replace("/var/lib/aviary/envoy", str(tmp_path)), str(PAGE), "exec"), names)
    assert names["config"] == tmp_path / "envoy-9901.yaml"
    assert names["config"].is_file()
