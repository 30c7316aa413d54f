"""Where the pages about a release are, for whoever tells people of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from schemas.ids import NO_CELL, Cell, release_workflow_id
from schemas.notice import Notice


@dataclass(frozen=True)
class Links:
    """Where the pages about a release are."""

    temporal_ui: str | None = None
    """Address of Temporal's UI, without the path of a page."""
    namespace: str = "default"
    reports: str | None = None
    """Address of the folder of reports, each `<release>.html`."""
    cell: Cell = NO_CELL
    """Of the releases."""

    def pages(self, release: str) -> dict[str, str]:
        """The pages about a release that are there from its beginning, by what they show."""
        if self.temporal_ui is None:
            return {}
        workflow = quote(release_workflow_id(release, self.cell), safe="")
        base = self.temporal_ui.rstrip("/")
        return {"release": f"{base}/namespaces/{quote(self.namespace)}/workflows/{workflow}"}

    def of(self, notice: Notice) -> Mapping[str, str]:
        """The pages about a notice's release, by what they show; the report once it has ended."""
        found = self.pages(notice.release)
        if self.reports is not None and notice.kind.ends:
            found["report"] = f"{self.reports.rstrip('/')}/{quote(notice.release)}.html"
        return found
