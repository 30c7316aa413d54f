"""The JSON Schema of catalogs, with the routers, hooks and packs that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.catalog import Catalog
from schemas.deploy_spec import NONE, DeploySpec
from schemas.hooks import HookCall
from schemas.router_spec import MOST_ROUTERS, SEVERAL, RouterSpec

_DEFINITION: Final = "#/$defs/{}"
_SEVERAL: Final = "SeveralRouters"


def catalog_schema(
    routers: Mapping[str, type[BaseModel]],
    deployers: Mapping[str, type[BaseModel]],
    hooks: Mapping[str, type[BaseModel]],
    packs: Iterable[str],
) -> dict[str, Any]:
    """The schema of a catalog whose routers, deployers and hooks are of these kinds.

    Args:
        routers: by kind, what a catalog writes of one.
        deployers: likewise.
        hooks: by kind, what a catalog writes of a hook's call.
        packs: the names of the metric packs.
    """
    of_kinds = (*routers.values(), *deployers.values(), *hooks.values())
    models: tuple[type[BaseModel], ...] = (Catalog, *of_kinds)
    refs, together = models_json_schema(
        [(model, "validation") for model in models], ref_template=_DEFINITION.format("{model}")
    )
    definitions: dict[str, Any] = together["$defs"]
    names = {model: refs[model, "validation"]["$ref"] for model in models}
    kinds = {kind: names[model] for kind, model in routers.items()}
    one_router = _one_of(kinds)
    definitions[RouterSpec.__name__] = {
        "description": "Which router carries a service, `kind` says which; or several, each the "
        "requests that it gets, in the order in which they get a weight.",
        "anyOf": [
            _one_of({**kinds, SEVERAL: _DEFINITION.format(_SEVERAL)}),
            _list_of(one_router),
        ],
    }
    definitions[_SEVERAL] = _several(one_router)
    definitions[HookCall.__name__] = {
        "description": "What is called; `kind` says how.",
        **_one_of({kind: names[model] for kind, model in hooks.items()}),
    }
    definitions[DeploySpec.__name__] = {
        "description": "Who puts versions up: none (the pipeline), or what `kind` says.",
        "anyOf": [
            {"const": NONE},
            _one_of({kind: names[model] for kind, model in deployers.items()}),
        ],
    }
    pack = definitions["JudgeSpec"]["properties"]["pack"]
    for one in pack["anyOf"]:
        if one.get("type") == "string":
            one["enum"] = list(packs)
    catalog = definitions.pop(Catalog.__name__)
    return {"$defs": dict(sorted(definitions.items())), **catalog}


def _list_of(one: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": one, "minItems": 2, "maxItems": MOST_ROUTERS}


def _several(one: Mapping[str, Any]) -> dict[str, Any]:
    """What a catalog writes of several routers as a mapping."""
    judged = {
        "description": "Whose metrics judge, as its place in the list; left out: the first that "
        "has some.",
        "anyOf": [{"type": "integer", "minimum": 1, "maximum": MOST_ROUTERS}, {"type": "null"}],
    }
    return {
        "type": "object",
        "properties": {"kind": {"const": SEVERAL}, "routers": _list_of(one), "judged_by": judged},
        "required": ["kind", "routers"],
        "additionalProperties": False,
    }


def _one_of(kinds: Mapping[str, str]) -> dict[str, Any]:
    return {
        "discriminator": {"propertyName": "kind", "mapping": dict(kinds)},
        "oneOf": [{"$ref": name} for name in kinds.values()],
    }
