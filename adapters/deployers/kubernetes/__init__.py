"""Kubernetes, as a kind of deployer.

Here belongs how a version becomes a Deployment, and what of a cluster says how it is. What decides
when a version goes up or down does not, nor how an API server is asked (`adapters.kubernetes`).
"""

from __future__ import annotations

from typing import Final

from adapters.deployers.kubernetes.options import KubernetesOptions
from adapters.kinds import DeployerKind, Shared
from adapters.kubernetes.connection import KubernetesConnection
from adapters.ports import Deployer


def _make(connection: KubernetesConnection | None, owner: str, _: Shared) -> Deployer:
    from adapters.deployers.kubernetes.deployer import KubernetesDeployer  # noqa: PLC0415 - its client library is heavy

    return KubernetesDeployer(connection or KubernetesConnection(), owner)


KUBERNETES: Final = DeployerKind[KubernetesOptions, KubernetesConnection](
    name="kubernetes",
    text="Deployments of one namespace, each version one, made of the team's template.",
    connection=KubernetesConnection,
    make=_make,
    options=KubernetesOptions,
    image=True,
    endpoints=False,
)
