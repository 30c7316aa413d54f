"""What a notice looks like to a person: a title, a text, and links to look further."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

from schemas.ids import release_workflow_id
from schemas.notice import Notice


@dataclass(frozen=True)
class Links:
    """Where the pages about a release are."""

    temporal_ui: str | None = None
    """Address of Temporal's UI, without the path of a page."""
    namespace: str = "default"
    reports: str | None = None
    """Address of the folder of reports, each `<release>.html`."""

    def of(self, notice: Notice) -> Mapping[str, str]:
        """The pages about a notice's release, by what they show; the report once it has ended."""
        found: dict[str, str] = {}
        if self.temporal_ui is not None:
            workflow = quote(release_workflow_id(notice.release), safe="")
            base = self.temporal_ui.rstrip("/")
            found["release"] = f"{base}/namespaces/{quote(self.namespace)}/workflows/{workflow}"
        if self.reports is not None and notice.kind.ends:
            found["report"] = f"{self.reports.rstrip('/')}/{quote(notice.release)}.html"
        return found


def body(notice: Notice, links: Mapping[str, str]) -> str:
    """The text of a notice: its sentence, what it is about, and where to look."""
    about = {
        "service": f"{notice.service} {notice.version or ''}".strip() if notice.service else "",
        "services": "" if notice.service else ", ".join(notice.services),
        "environment": notice.environment,
        "at": notice.at.isoformat(timespec="seconds"),
        **links,
    }
    lines = [f"{name}: {value}" for name, value in about.items() if value]
    return "\n".join([notice.text, "", *lines])
