"""What was asked for of each template, in a ConfigMap beside them.

A decision is one write of it, which holds only if nobody else has written since it was read. So a
watcher that dies goes on with the same decision, and of two that run side by side one decides.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from pydantic import Field, ValidationError

from adapters.errors import Retryable
from adapters.kubernetes.client import KubernetesClient
from adapters.kubernetes.errors import Missing
from adapters.kubernetes.resources import CONFIG_MAPS, Json
from aviary.watching.requests import Request
from aviary.watching.templates import Reference, Template
from schemas.base import Model, ServiceName, Version
from schemas.rejection import explain

NAME: Final = "aviary-watch"
"""Of the ConfigMap."""
_FIELD: Final = "journal"
_NAMES_MOST: Final = 500
_BYTES_MOST: Final = 1_000_000


class Entry(Model):
    """One template, as it was asked for last."""

    kind: Literal["Deployment", "PodTemplate"]
    name: str
    generation: int
    service: ServiceName
    version: Version
    made_of: str
    release: str
    """That asked for this version."""

    def of(self, uid: str) -> Reference:
        """Which object it is."""
        return Reference(self.kind, self.name, uid, self.generation)


class Journal(Model):
    """All that a watcher has to remember."""

    format: Literal[1] = 1
    templates: dict[str, Entry] = Field(default_factory=dict)
    """By uid."""
    pending: tuple[Request, ...] = ()
    """Decided on, and perhaps not on Kafka yet."""
    names: tuple[str, ...] = ()
    """Releases that teams gave a name, the last 500."""

    def with_request(self, request: Request, templates: tuple[Template, ...]) -> Journal:
        """With a decision."""
        release = request.deploy.release
        found = {one.of.uid: _entry(one, release) for one in templates}
        named = (release,) if any(one.key.is_release for one in templates) else ()
        return self.model_copy(
            update={
                "templates": {**self.templates, **found},
                "pending": (*self.pending, request),
                "names": (*self.names, *named)[-_NAMES_MOST:],
            }
        )

    def with_same(self, template: Template) -> Journal:
        """With a newer state of a template that asks for the same version."""
        entry = _entry(template, self.templates[template.of.uid].release)
        return self.model_copy(update={"templates": {**self.templates, template.of.uid: entry}})

    def sent(self, request_id: str) -> Journal:
        """Without a request that Kafka has."""
        left = tuple(one for one in self.pending if one.id != request_id)
        return self.model_copy(update={"pending": left})

    def without(self, uids: frozenset[str]) -> Journal:
        """Without templates that are gone."""
        left = {uid: one for uid, one in self.templates.items() if uid not in uids}
        return self.model_copy(update={"templates": left})

    def of_release(self, release: str) -> dict[str, Entry]:
        """The templates whose newest version a release is for, by uid."""
        return {uid: one for uid, one in self.templates.items() if one.release == release}


@dataclass(frozen=True)
class Kept:
    """A journal as it was read, with what a write of it must find."""

    journal: Journal
    uid: str = ""
    """Of the ConfigMap: no two clusters have the same."""
    version: str = ""


class JournalStore:
    """Reads and writes the journal.

    Args:
        client: of the cluster.
        namespace: where the ConfigMap is.
    """

    def __init__(self, client: KubernetesClient, namespace: str) -> None:
        self._client, self._namespace = client, namespace

    async def read(self) -> Kept:
        """The journal as it is; made where there is none.

        Raises:
            Retryable: the API server could not be asked, or somebody has damaged the journal.
        """
        found = await self._client.get(CONFIG_MAPS, NAME, self._namespace)
        if found is None:
            made = {"metadata": {"name": NAME}, "data": {_FIELD: Journal().model_dump_json()}}
            found = await self._client.create(CONFIG_MAPS, made, self._namespace)
        return self._kept(found)

    async def write(self, journal: Journal, over: Kept) -> Kept:
        """Write it, unless somebody has since `over` was read.

        Raises:
            Conflicted: somebody has: read again.
            Retryable: the API server could not be asked, or it would be too large.
        """
        text = journal.model_dump_json()
        if len(text.encode()) > _BYTES_MOST:
            raise Retryable(f"{self._where}: more than {_BYTES_MOST:,} bytes, expected fewer")
        body = {"metadata": {"resourceVersion": over.version}, "data": {_FIELD: text}}
        try:
            return self._kept(await self._client.patch(CONFIG_MAPS, NAME, body, self._namespace))
        except Missing as error:
            raise Retryable(f"{self._where}: it was deleted meanwhile") from error

    @property
    def _where(self) -> str:
        return f"configmap {self._namespace}/{NAME}"

    def _kept(self, found: Json) -> Kept:
        text = (found.get("data") or {}).get(_FIELD)
        try:
            journal = Journal.model_validate_json(text or "")
        except ValidationError as error:
            # Not begun anew: all templates would be released again, old ones among them.
            what = f"{self._where}: data.{_FIELD}: {explain(error)[:500]}"
            raise Retryable(
                f"{what}; expected what a watcher wrote. Deleted, every template is released as "
                "it is"
            ) from None
        about = found["metadata"]
        return Kept(journal, str(about.get("uid")), str(about.get("resourceVersion")))


def _entry(template: Template, release: str) -> Entry:
    fields = template.of
    return Entry.model_validate(
        {
            "kind": fields.kind,
            "name": fields.name,
            "generation": fields.generation,
            "service": template.service,
            "version": template.version,
            "made_of": template.made_of,
            "release": release,
        }
    )
