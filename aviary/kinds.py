"""The one table of everything that Aviary can drive: a new kind is a line here.

Of a package of its own, it is an entry point instead (`aviary.registry`), and nothing here changes.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from adapters.deployers.docker import DOCKER
from adapters.deployers.kubernetes import KUBERNETES
from adapters.deployers.memory import MEMORY as MEMORY_DEPLOYER
from adapters.deployers.process import PROCESS
from adapters.hooks.http import HTTP
from adapters.hooks.run import RUN
from adapters.metrics.prometheus import PROMETHEUS
from adapters.notifiers.apprise import APPRISE
from adapters.notifiers.commits import GITHUB, GITLAB
from adapters.routers.alb import ALB
from adapters.routers.caddy import CADDY
from adapters.routers.envoy import ENVOY
from adapters.routers.flagd import FLAGD
from adapters.routers.gateway_api import GATEWAY_API
from adapters.routers.haproxy import HAPROXY
from adapters.routers.istio import ISTIO
from adapters.routers.memory import MEMORY
from adapters.routers.nginx import NGINX
from adapters.routers.traefik import TRAEFIK_ETCD, TRAEFIK_FILE
from adapters.routers.unleash import UNLEASH
from aviary.registry import Registry

ROUTERS: Final = (
    ALB,
    CADDY,
    ENVOY,
    FLAGD,
    GATEWAY_API,
    HAPROXY,
    ISTIO,
    MEMORY,
    NGINX,
    TRAEFIK_ETCD,
    TRAEFIK_FILE,
    UNLEASH,
)
METRICS: Final = (PROMETHEUS,)
NOTIFIERS: Final = (APPRISE, GITHUB, GITLAB)
DEPLOYERS: Final = (
    DOCKER,
    KUBERNETES,
    MEMORY_DEPLOYER,
    PROCESS,
)
HOOKS: Final = (HTTP, RUN)


@cache
def registry() -> Registry:
    """Everything that is there for this process: these, and what is installed beside them."""
    return Registry(ROUTERS, METRICS, NOTIFIERS, DEPLOYERS, HOOKS)
