"""The contract of every router: a real API server, and a real Traefik that obeys it."""

from __future__ import annotations

from tests.contract.routers.test_audiences import *  # noqa: F403
from tests.contract.routers.test_core import *  # noqa: F403
from tests.contract.routers.test_fence import *  # noqa: F403
from tests.contract.routers.test_forced import *  # noqa: F403
from tests.contract.routers.test_foreign_change import *  # noqa: F403
from tests.contract.routers.test_weights import *  # noqa: F403
