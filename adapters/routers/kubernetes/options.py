"""Names as a catalog says them, of the kinds whose routes are objects of Kubernetes."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

ObjectName = Annotated[
    str,
    Field(
        pattern=r"^[a-z0-9{]([a-z0-9.{}-]{0,250}[a-z0-9}])?$",
        description="Of an object; `{service}` stands for the name of the service.",
    ),
]
VersionName = Annotated[
    str,
    Field(
        pattern=r"^([a-z0-9{][a-z0-9{}-]{0,100})?\{version\}([a-z0-9{}-]{0,100}[a-z0-9}])?$",
        description="Of what stands for one version; `{service}` and `{version}` are filled in.",
    ),
]
