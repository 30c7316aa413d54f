"""What a team has in a cluster for the routers: Services, instances, and routes by hand."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import Final

import httpx
import yaml

from adapters.kubernetes.resources import SERVICES, Json, Resource
from adapters.routers.kubernetes.backends import SERVICE_LABEL, SLICES, VERSION_MARK

MERGE: Final = "application/merge-patch+json"
PORT: Final = 80


class Team:
    """Somebody who writes objects into a namespace, as `kubectl` does.

    Args:
        kubeconfig: of the cluster.
        namespace: that all is in.
    """

    def __init__(self, kubeconfig: Path, namespace: str) -> None:
        said = yaml.safe_load(kubeconfig.read_text())
        cluster, user = said["clusters"][0]["cluster"], said["users"][0]["user"]
        context = ssl.create_default_context(cafile=cluster["certificate-authority"])
        self.namespace = namespace
        self._client = httpx.Client(
            base_url=cluster["server"],
            verify=context,
            trust_env=False,
            timeout=30,
            headers={"authorization": f"Bearer {user['token']}"},
            params={"fieldManager": "kubectl-edit"},
        )

    def close(self) -> None:
        self._client.close()

    def make(self, resource: Resource, name: str, **parts: Json | list[Json] | str) -> Json:
        """Create an object."""
        metadata = parts.pop("metadata", {})
        assert isinstance(metadata, dict)
        body = {"apiVersion": resource.api, "kind": resource.kind, **parts}
        body["metadata"] = {"name": name, **metadata}
        where = self.namespace if resource.namespaced else None
        return self._sent("POST", resource.path(where), body)

    def get(self, resource: Resource, name: str) -> Json:
        """An object."""
        return self._sent("GET", resource.path(self.namespace, name))

    def patch(self, resource: Resource, name: str, body: Json) -> Json:
        """Merge into an object."""
        return self._sent("PATCH", resource.path(self.namespace, name), body)

    def delete(self, resource: Resource, name: str) -> None:
        """Delete an object."""
        self._sent("DELETE", resource.path(self.namespace, name))

    def token(self, account: str) -> str:
        """A token of a service account."""
        path = f"/api/v1/namespaces/{self.namespace}/serviceaccounts/{account}/token"
        body: Json = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest", "spec": {}}
        return str(self._sent("POST", path, body)["status"]["token"])

    def make_version(
        self, service: str, version: str, names: tuple[str, ...], host: str, port: int
    ) -> None:
        """The Services of one version, with one instance."""
        for name in names:
            about: Json = {"labels": {SERVICE_LABEL: service}}
            if name == names[0]:
                about["annotations"] = {VERSION_MARK: version}
            spec: Json = {"ports": [{"name": "http", "port": PORT}]}
            self.make(SERVICES, name, metadata=about, spec=spec)
            self.make(
                SLICES,
                name,
                metadata={"labels": {"kubernetes.io/service-name": name}},
                addressType="IPv4",
                ports=[{"name": "http", "port": port, "protocol": "TCP"}],
                endpoints=[{"addresses": [host], "conditions": {"ready": True}}],
            )

    def take_down(self, name: str) -> None:
        """Have no instance of a Service ready."""
        found = self.get(SLICES, name)
        for endpoint in found["endpoints"]:
            endpoint["conditions"]["ready"] = False
        self.patch(SLICES, name, {"endpoints": found["endpoints"]})

    def _sent(self, method: str, path: str, body: Json | None = None) -> Json:
        content = MERGE if method == "PATCH" else "application/json"
        answer = self._client.request(method, path, json=body, headers={"content-type": content})
        assert answer.is_success, answer.text
        found: Json = answer.json()
        return found
