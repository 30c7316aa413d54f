"""The how-to's Python does what the page says."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from adapters.routers.envoy.file import RouteFile
from adapters.routers.envoy.fleet import EnvoyFleet
from adapters.routers.envoy.routes import local_domains
from schemas.route import Route

PAGE = Path(__file__).parents[3] / "docs" / "how-to" / "routers.md"


async def test_setting_up_as_described_gives_a_service_its_route(tmp_path: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    assert len(blocks) == 2
    code = "\n".join(blocks).replace("/var/lib/aviary/envoy", str(tmp_path))
    names: dict[str, Any] = {}
    exec(compile(code, str(PAGE), "exec"), names)
    await names["register"]()

    assert names["config"] == tmp_path / "envoy-9901.yaml"
    assert EnvoyFleet(tmp_path).versions("payments") == {"2.0.0"}
    file = RouteFile(tmp_path, local_domains, lock_within=1)
    assert file.read("payments") == Route.split(service="payments", stable="2.0.0")
