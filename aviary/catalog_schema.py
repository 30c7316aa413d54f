"""The JSON Schema of catalogs, with the routers and packs that are there."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from schemas.catalog import Catalog
from schemas.router_spec import RouterSpec

_DEFINITION: Final = "#/$defs/{}"


def catalog_schema(routers: Mapping[str, type[BaseModel]], packs: Iterable[str]) -> dict[str, Any]:
    """The schema of a catalog whose routers are of these kinds.

    Args:
        routers: by kind, what a catalog writes of one.
        packs: the names of the metric packs.
    """
    models: tuple[type[BaseModel], ...] = (Catalog, *routers.values())
    refs, together = models_json_schema(
        [(model, "validation") for model in models], ref_template=_DEFINITION.format("{model}")
    )
    definitions: dict[str, Any] = together["$defs"]
    names = {model: refs[model, "validation"]["$ref"] for model in models}
    definitions[RouterSpec.__name__] = {
        "description": "Which router carries a service; `kind` says which.",
        "discriminator": {
            "propertyName": "kind",
            "mapping": {kind: names[model] for kind, model in routers.items()},
        },
        "oneOf": [{"$ref": names[model]} for model in routers.values()],
    }
    pack = definitions["JudgeSpec"]["properties"]["pack"]
    for one in pack["anyOf"]:
        if one.get("type") == "string":
            one["enum"] = list(packs)
    catalog = definitions.pop(Catalog.__name__)
    return {"$defs": dict(sorted(definitions.items())), **catalog}
