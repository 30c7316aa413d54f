"""Accounts that have the Role of a how-to page."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml

from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.resources import Resource

ACCOUNTS = Resource("v1", "ServiceAccount", "serviceaccounts")
ROLES = Resource("rbac.authorization.k8s.io/v1", "Role", "roles")
ROLE_BINDINGS = Resource("rbac.authorization.k8s.io/v1", "RoleBinding", "rolebindings")
_PAGES = Path(__file__).parents[2] / "docs/how-to"


def rules_of(page: str) -> list[dict[str, Any]]:
    """The Role of a page, such as `kubernetes`."""
    blocks = (_PAGES / f"{page}.md").read_text().split("```yaml\n")[1:]
    found = (yaml.safe_load(block.split("```")[0]) for block in blocks)
    role = next(one for one in found if isinstance(one, dict) and one.get("kind") == "Role")
    return list(role["rules"])


def pairs(rules: list[dict[str, Any]]) -> set[tuple[str, str]]:
    """Each resource with each verb that rules allow."""
    return {
        (resource, verb)
        for rule in rules
        for resource in rule["resources"]
        for verb in rule["verbs"]
    }


async def account(client: KubernetesClient, namespace: str, rules: list[dict[str, Any]]) -> str:
    """The token of an account that has these rules and no others."""
    about = {"metadata": {"name": "aviary"}}
    await client.apply(ACCOUNTS, about, namespace)
    await client.apply(ROLES, {**about, "rules": rules}, namespace)
    whom = {"kind": "ServiceAccount", "name": "aviary", "namespace": namespace}
    ref = {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "aviary"}
    await client.apply(ROLE_BINDINGS, {**about, "subjects": [whom], "roleRef": ref}, namespace)
    asked = {**about, "spec": {"expirationSeconds": 600}}
    made = await client.create(ACCOUNTS, asked, namespace, "token")
    return str(made["status"]["token"])
