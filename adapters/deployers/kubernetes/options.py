"""The recipe: which template a service has, and what of it is the version's."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import AfterValidator, Field, JsonValue, model_validator

from schemas.base import Model

_PLACE: Final = "{version}"
_NAME: Final = r"^[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$"
KEPT_MOST: Final = 20


def _image(text: str) -> str:
    if text.count("{") != text.count(_PLACE) or text.count("}") != text.count(_PLACE):
        raise ValueError(f"expected {_PLACE} as the only name in braces")
    return text


ObjectName = Annotated[str, Field(pattern=_NAME)]


class KubernetesOptions(Model):
    """What of a template is replaced by each version; all else is kept."""

    template: str | None = Field(
        default=None,
        pattern=r"^((deployment|podtemplate)/)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$",
        description="A Deployment (`checkout`, `deployment/checkout`) or a PodTemplate "
        "(`podtemplate/checkout`) of the namespace; without it, the Deployment with the label "
        "aviary.dev/template: true that is called as the service.",
    )
    manifest: dict[str, JsonValue] | None = Field(
        default=None, description="A Deployment, in place of one in the cluster."
    )
    container: ObjectName | None = Field(
        default=None,
        description="Whose image is the version's; the only one, the one that kubectl takes by "
        "default, or the one called as the service if not.",
    )
    image: Annotated[str, AfterValidator(_image)] | None = Field(
        default=None,
        min_length=1,
        max_length=500,
        description="With {version}; the template's with the version as its tag if not.",
    )
    port: Annotated[int, Field(ge=1, le=65_535)] | ObjectName | None = Field(
        default=None,
        description="Where the container takes requests, by number or name; its first if not.",
    )
    version_label: str = Field(
        default="version",
        pattern=r"^([a-z0-9.-]{1,200}/)?[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?$",
        description="Label of pods that has the version, as meshes and metrics read it.",
    )
    version_service: bool = Field(
        default=True, description="Whether each version has a Service of its own."
    )
    service: ObjectName | None = Field(
        default=None,
        description="The Service whose ports those of versions have; the one called as the "
        "service if not.",
    )
    autoscaler: ObjectName | None = Field(
        default=None,
        description="A HorizontalPodAutoscaler: each version gets one like it, whose minimum is "
        "what its weight needs.",
    )
    keep_versions: int = Field(
        default=2,
        ge=0,
        le=KEPT_MOST,
        description="Versions that were taken down and stay as Deployments without pods.",
    )

    @model_validator(mode="after")
    def _one_template(self) -> Self:
        if self.template is not None and self.manifest is not None:
            raise ValueError("expected template or manifest, and not both")
        if self.manifest is not None and self.manifest.get("kind") != "Deployment":
            raise ValueError("manifest: expected kind: Deployment")
        return self

    def image_of(self, version: str) -> str | None:
        """The image of a version; None where the template has to say it."""
        return None if self.image is None else self.image.replace(_PLACE, version)
