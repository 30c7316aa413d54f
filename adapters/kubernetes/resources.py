"""Kinds of objects, as the API's addresses name them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import quote

Json = dict[str, Any]
"""An object as the API has it: whatever it holds is kept, also what nobody here knows."""


@dataclass(frozen=True)
class Resource:
    """One kind of objects."""

    api: str
    """Group and version, such as `apps/v1`; `v1` is the core group."""
    kind: str
    plural: str
    namespaced: bool = True

    def path(self, namespace: str | None = None, name: str = "", part: str = "") -> str:
        """The address of an object, or of all in a namespace, or of all.

        Args:
            namespace: of the object; None: of no namespace, or of all.
            name: of the object; empty: a list.
            part: of the object, such as `status` or `scale`.
        """
        words = ["api" if "/" not in self.api else "apis", *self.api.split("/")]
        if self.namespaced and namespace is not None:
            words += ["namespaces", namespace]
        words.append(self.plural)
        words += [word for word in (name, *part.split("/")) if word]
        return "/" + "/".join(quote(word, safe="") for word in words)

    def __str__(self) -> str:
        """As `kubectl` takes it: `deployments.apps`."""
        group = self.api.rpartition("/")[0]
        return f"{self.plural}.{group}" if group else self.plural


NAMESPACES: Final = Resource("v1", "Namespace", "namespaces", namespaced=False)
NODES: Final = Resource("v1", "Node", "nodes", namespaced=False)
PODS: Final = Resource("v1", "Pod", "pods")
POD_TEMPLATES: Final = Resource("v1", "PodTemplate", "podtemplates")
SERVICES: Final = Resource("v1", "Service", "services")
CONFIG_MAPS: Final = Resource("v1", "ConfigMap", "configmaps")
EVENTS: Final = Resource("v1", "Event", "events")
DEPLOYMENTS: Final = Resource("apps/v1", "Deployment", "deployments")
REPLICA_SETS: Final = Resource("apps/v1", "ReplicaSet", "replicasets")
STATEFUL_SETS: Final = Resource("apps/v1", "StatefulSet", "statefulsets")
LEASES: Final = Resource("coordination.k8s.io/v1", "Lease", "leases")
AUTOSCALERS: Final = Resource(
    "autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"
)
DISRUPTION_BUDGETS: Final = Resource("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets")
DEFINITIONS: Final = Resource(
    "apiextensions.k8s.io/v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
    namespaced=False,
)
