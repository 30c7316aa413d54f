"""The contract of every deployer, kept on a real API server."""

from __future__ import annotations

from tests.contract.deployers.test_fence import *  # noqa: F403
from tests.contract.deployers.test_owner import *  # noqa: F403
from tests.contract.deployers.test_put_up import *  # noqa: F403
from tests.contract.deployers.test_scale import *  # noqa: F403
from tests.contract.deployers.test_take_down import *  # noqa: F403
from tests.contract.deployers.test_trouble import *  # noqa: F403
