"""A version's Deployment: the team's template with the version in it, and all else as it is."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationError

from adapters.deployers.kubernetes import labels
from adapters.deployers.kubernetes.options import KubernetesOptions
from adapters.deployers.kubernetes.troubles import TroubledError
from adapters.errors import Terminal
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.resources import (
    DEPLOYMENTS,
    POD_TEMPLATES,
    STATEFUL_SETS,
    Json,
)
from adapters.kubernetes.templates import HOW, RESTARTED, TEMPLATE, main_container
from schemas.deployment import Trouble, WantedVersion

APP_VERSION: Final = "app.kubernetes.io/version"
_OTHERS: Final = (
    "argocd.argoproj.io/",
    "kustomize.toolkit.fluxcd.io/",
    "helm.toolkit.fluxcd.io/",
    "meta.helm.sh/",
    "kubectl.kubernetes.io/",
    "deployment.kubernetes.io/",
    "aviary.dev/",
    "app.kubernetes.io/instance",
    "app.kubernetes.io/managed-by",
)
"""By these, tools know objects as theirs: they would take a version's for one, and prune it."""
_SET: Final = (
    "{service}: {name} is a StatefulSet, whose pods can't stand beside those of another version: "
    "let your pipeline put versions up (deploy: none) and switch with hooks, blue-green"
)


def options_of(wanted: WantedVersion) -> KubernetesOptions:
    """Read a recipe.

    Raises:
        Terminal: it does not fit.
    """
    try:
        return KubernetesOptions.model_validate(wanted.recipe)
    except ValidationError as error:
        what = "; ".join(
            f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()
        )
        raise Terminal(f"{wanted.service}: recipe: {what[:1_500]}") from None


async def find_template(
    client: KubernetesClient, wanted: WantedVersion, options: KubernetesOptions
) -> Json:
    """The template as a Deployment, wherever it is.

    Raises:
        TroubledError: there is none yet.
        Terminal: it is none that versions can be made of.
        Retryable: the cluster could not be asked.
    """
    if options.manifest is not None:
        return dict(options.manifest)
    kind, _, name = (options.template or f"deployment/{wanted.service}").rpartition("/")
    namespace = await client.namespace()
    resource = POD_TEMPLATES if kind == "podtemplate" else DEPLOYMENTS
    found = await client.get(resource, name, namespace)
    if found is None:
        if await client.get(STATEFUL_SETS, name, namespace) is not None:
            raise Terminal(_SET.format(service=wanted.service, name=name))
        text = f"expected a template {resource.kind} {namespace}/{name}, there is none"
        raise TroubledError(Trouble.WRONG_RECIPE, text)
    if options.template is None and labels.said(found, "labels").get(TEMPLATE) != "true":
        text = (
            f'Deployment {namespace}/{name}: expected the label {TEMPLATE}: "true", or '
            "template in the catalog"
        )
        raise TroubledError(Trouble.WRONG_RECIPE, text)
    if resource is POD_TEMPLATES:
        return {"metadata": found.get("metadata", {}), "spec": {"template": found.get("template")}}
    return found


def deployment_of(
    template: Mapping[str, Any], wanted: WantedVersion, options: KubernetesOptions, owner: str
) -> Json:
    """The Deployment of a version, without pods as yet.

    Raises:
        Terminal: the template has no container of that name, or none whose image is known.
    """
    spec, about = template.get("spec") or {}, template.get("metadata") or {}
    pods = copy.deepcopy(spec.get("template") or {})
    container = main_container(pods, wanted.service, options.container)
    container["image"] = _image(container, wanted, options)
    _add_config(container, wanted.config)
    ours = labels.of(owner, wanted.service, wanted.version)
    marks = ours | {labels.MADE_OF: wanted.made_of}
    kept = pods.setdefault("metadata", {})
    versions = {options.version_label: labels.value(wanted.version)}
    if APP_VERSION in (kept.get("labels") or {}):
        versions[APP_VERSION] = labels.value(wanted.version)
    kept["labels"] = (kept.get("labels") or {}) | versions | marks
    kept["annotations"] = _kept(kept.get("annotations"), (RESTARTED,)) | {
        labels.VERSION: wanted.version
    }
    kept.pop("creationTimestamp", None)
    matched = (spec.get("selector") or {}).get("matchLabels") or {}
    selector = {name: kept["labels"][name] for name in matched if name in kept["labels"]}
    return {
        "metadata": {
            "labels": _kept(about.get("labels"), _OTHERS) | versions | marks,
            "annotations": _kept(about.get("annotations"), _OTHERS)
            | labels.annotations_of(wanted)
            | {
                labels.KEEP: str(options.keep_versions),
                labels.PORT: _port(container, options),
                labels.AUTOSCALED: "false" if options.autoscaler is None else "true",
            },
        },
        "spec": {name: spec[name] for name in HOW if name in spec}
        | {"replicas": 0, "selector": {"matchLabels": selector | marks}, "template": pods},
    }


def _image(container: Json, wanted: WantedVersion, options: KubernetesOptions) -> str:
    image = wanted.image or options.image_of(wanted.version)
    if image is not None:
        return image
    now = str(container.get("image") or "")
    path, _, last = now.rpartition("/")
    if not now or "@" in now:
        raise Terminal(
            f"{wanted.service}: image: expected one here or in the event: that of the template, "
            f"{now!r}, has no tag in whose place the version could stand"
        )
    if ":" in wanted.version or "+" in wanted.version:
        raise Terminal(
            f"{wanted.service}: image: expected one here or in the event: the version "
            f"{wanted.version} can't be a tag"
        )
    name = f"{path}/{last.partition(':')[0]}" if path else last.partition(":")[0]
    return f"{name}:{wanted.version}"


def _add_config(container: Json, config: Mapping[str, str]) -> None:
    """Settings of the event, in place of those of the same name."""
    if config:
        kept = [one for one in container.get("env") or () if one.get("name") not in config]
        container["env"] = kept + [{"name": name, "value": text} for name, text in config.items()]


def _port(container: Json, options: KubernetesOptions) -> str:
    """Where the container takes requests; 0: it does not say."""
    ports = [one for one in container.get("ports") or () if isinstance(one, dict)]
    if isinstance(options.port, int):
        return str(options.port)
    for one in ports:
        if options.port is None or one.get("name") == options.port:
            return str(one.get("containerPort", 0))
    if options.port is not None:
        raise Terminal(f"port: the container has none called {options.port}")
    return "0"


def _kept(found: Any, left_out: tuple[str, ...]) -> dict[str, str]:
    """Labels or annotations without those that begin so."""
    said = found if isinstance(found, dict) else {}
    return {name: text for name, text in said.items() if not name.startswith(left_out)}
