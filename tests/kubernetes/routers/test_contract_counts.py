"""The same for instances, and for what the pack counts in what a real Traefik exposes."""

from __future__ import annotations

from tests.contract.routers.test_counts import *  # noqa: F403
from tests.contract.routers.test_instances import *  # noqa: F403
from tests.contract.routers.test_registrar import *  # noqa: F403
