"""What a notice looks like to a person: a title, a text, and links to look further.

Reasons, names of alerts and the like are other people's words. Each is one line, in which nothing
acts on its reader; for a service that makes mentions and links of what it is sent (most do), they
are written so that it finds none. The links that are made here stay as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from schemas.notice import Notice
from schemas.outside import inert, one_line

Spelling = Callable[[str], str]
"""How somebody's text is written for a service."""


_READS_NO_MARKUP = frozenset({"json", "jsons", "xml", "xmls", "form", "forms", "syslog"})
_MAIL = frozenset({"mailto", "mailtos"})


def spelling(scheme: str) -> Spelling:
    """How texts are written for a service, by the scheme of its URL.

    Programs and mail take text for text; of anything else it is not known, and so it is inert.
    """
    return one_line if scheme in _READS_NO_MARKUP | _MAIL else inert


def title(notice: Notice, spell: Spelling = inert) -> str:
    """The title of a notice."""
    return spell(notice.title)


def body(notice: Notice, links: Mapping[str, str], spell: Spelling = inert) -> str:
    """The text of a notice: its sentence, what it is about, and where to look."""
    about = {
        "service": f"{notice.service} {notice.version or ''}".strip() if notice.service else "",
        "services": "" if notice.service else ", ".join(notice.services),
        "environment": notice.environment,
        "at": notice.at.isoformat(timespec="seconds"),
    }
    lines = [f"{name}: {spell(value)}" for name, value in about.items() if value]
    lines += [f"{name}: {url}" for name, url in links.items()]
    return "\n".join([spell(notice.text), "", *lines])
