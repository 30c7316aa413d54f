"""Whether the links of a release are whole: what was changed, is missing, or was exchanged. Pure.

From the last link back to the first, each must be what the one after it follows. What is beside
that line is a copy, or of a run that was reset, or does not belong there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

from aviary.audit.links import Flaw, Link
from schemas.chain import GENESIS

FINDINGS_MOST: Final = 1000
"""Kept of one release; more say no more."""
_SHOWN: Final = 12
"""Characters of a digest in a text."""


class Finding(StrEnum):
    """What is wrong; a closed set."""

    CHANGED = "changed"
    """A link does not say what it said when it was made."""
    MISSING = "missing"
    """Links before one that is there are not."""
    EXCHANGED = "exchanged"
    """Another link stands where one should that those after it follow."""
    EXTRA = "extra"
    """A link that none follows: beside another of its number, or after the last."""
    CUT = "cut"
    """The end is missing."""
    OTHER_END = "other_end"
    """The chain has another end than the one that was kept elsewhere."""
    UNLINKED = "unlinked"
    """An event of a release has no digest."""
    UNREADABLE = "unreadable"
    """A record is no event that can be read."""


@dataclass(frozen=True)
class Found:
    """One thing that is wrong."""

    kind: Finding
    text: str
    link: int | None = None
    """Its number, or the first of several."""
    where: str = ""


@dataclass
class Audit:
    """What the links of one release amount to."""

    release: str
    links: int = 0
    """In one line from the end to the beginning."""
    head: str = ""
    """Digest of the last."""
    ended: bool = False
    copies: int = 0
    """Links that are there several times; Kafka delivers at least once."""
    reset: int = 0
    """Links of runs that were reset: they are whole, and no later one follows them."""
    found: list[Found] = field(default_factory=list)
    left_out: int = 0
    """Findings beyond those that are kept."""

    @property
    def whole(self) -> bool:
        """Whether nothing is wrong."""
        return not self.found

    def add(self, kind: Finding, text: str, link: int | None = None, where: str = "") -> None:
        """Note what is wrong."""
        if len(self.found) < FINDINGS_MOST:
            self.found.append(Found(kind, text, link, where))
        else:
            self.left_out += 1


def verify(
    links: Mapping[str, Sequence[Link]],
    flaws: Iterable[Flaw] = (),
    *,
    ends: Mapping[str, str] | None = None,
    running: bool = False,
) -> list[Audit]:
    """Verify all releases, in the order of their ids.

    Args:
        links: of each release, in any order, with copies.
        flaws: records that are no links, and should be.
        ends: digests that were kept elsewhere, by release.
        running: whether a release may not have ended yet.

    Returns:
        One audit for each release, that of no release first (of what can't be read).
    """
    ends = ends or {}
    audits = {release: Audit(release) for release in {*links, *ends}}
    for flaw in flaws:
        audit = audits.setdefault(flaw.release or "", Audit(flaw.release or ""))
        kind = Finding.UNREADABLE if flaw.linked else Finding.UNLINKED
        audit.add(kind, flaw.text, where=flaw.where)
    for release, several in links.items():
        _Line(audits[release], several).verify(running=running)
    for release, head in ends.items():
        _check_end(audits[release], head)
    return [audits[release] for release in sorted(audits)]


def _check_end(audit: Audit, head: str) -> None:
    if not audit.links:
        audit.add(Finding.MISSING, "no link of this release is here")
    elif audit.head != head:
        text = f"its last link is {_short(audit.head)}, expected {_short(head)}"
        audit.add(Finding.OTHER_END, text, audit.links - 1)


class _Line:
    """The links of one release, followed from the last to the first."""

    def __init__(self, audit: Audit, links: Sequence[Link]) -> None:
        self._audit = audit
        distinct = {(one.number, *one.same): one for one in reversed(links)}
        audit.copies = len(links) - len(distinct)
        self._at: dict[int, list[Link]] = defaultdict(list)
        for one in sorted(distinct.values(), key=lambda link: (link.number, link.digest)):
            self._at[one.number].append(one)
        self._numbers = sorted(self._at)
        self._line: dict[int, Link] = {}

    def verify(self, *, running: bool) -> None:
        head = self._head()
        self._follow(head)
        audit = self._audit
        audit.links, audit.head, audit.ended = len(self._line), head.digest, head.ends
        for one in self._all():
            if one.changed:
                text = f"{one.type} of {one.time} is not as it was made"
                audit.add(Finding.CHANGED, text, one.number, one.where)
            elif self._line.get(one.number) is not one:
                self._aside(one)
            elif one.ends and one is not head:
                text = f"it is the last, and {head.number - one.number} follow"
                audit.add(Finding.EXTRA, text, one.number, one.where)
        if head.ends and head.length not in {None, head.number + 1}:
            text = f"its last says that there are {head.length}, and is number {head.number + 1}"
            audit.add(Finding.CUT, text, head.number, head.where)
        if not (head.ends or running):
            text = f"it ends with {head.type}: it runs still, or what followed is missing"
            audit.add(Finding.CUT, text, head.number, head.where)

    def _all(self) -> Iterable[Link]:
        return (one for number in self._numbers for one in self._at[number])

    def _head(self) -> Link:
        """The link that none follows; of several, one that says it is the last, or the latest."""
        followed = {(one.number - 1, one.previous) for one in self._all()}
        open_ends = [one for one in self._all() if (one.number, one.digest) not in followed]
        return max(
            open_ends or list(self._all()),
            key=lambda one: (one.ends, not one.changed, one.time, one.number, one.digest),
        )

    def _follow(self, head: Link) -> None:
        link = head
        self._line[link.number] = link
        while link.number > 0:
            before = self._before(link)
            if before is None:
                return
            link = before
            self._line[link.number] = link
        if link.previous != GENESIS:
            text = f"it follows {_short(link.previous)}, and is the first"
            self._audit.add(Finding.EXCHANGED, text, 0, link.where)

    def _before(self, link: Link) -> Link | None:
        """The link before, or the nearest that there is."""
        here = self._at.get(link.number - 1, ())
        fits = [one for one in here if one.digest == link.previous]
        if fits:
            return min(fits, key=lambda one: one.changed)
        if here:
            text = f"the link after it follows {_short(link.previous)}, and this is another"
            best = min(here, key=lambda one: (one.changed, one.digest))
            self._audit.add(Finding.EXCHANGED, text, best.number, best.where)
            return best
        lower = max((number for number in self._numbers if number < link.number), default=None)
        first = 0 if lower is None else lower + 1
        count = link.number - first
        text = f"{count} before {link.type} of {link.time}: {_range(first, link.number - 1)}"
        self._audit.add(Finding.MISSING, text, first, link.where)
        return None if lower is None else max(self._at[lower], key=lambda one: one.time)

    def _aside(self, link: Link) -> None:
        """A whole link beside the line: of a run that was reset, or one too many."""
        root = self._root(link)
        if root is not None and self._forked(root):
            self._audit.reset += 1
            return
        text = f"{link.type} of {link.time}: no later link follows it"
        self._audit.add(Finding.EXTRA, text, link.number, link.where)

    def _root(self, link: Link) -> Link | None:
        """The first link of its branch, whose link before is in the line; None without one."""
        while True:
            before = self._line.get(link.number - 1)
            if link.number == 0 or (before is not None and before.digest == link.previous):
                return link
            fits = [
                one
                for one in self._at.get(link.number - 1, ())
                if one.digest == link.previous and not one.changed
            ]
            if not fits:
                return None
            link = fits[0]

    def _forked(self, root: Link) -> bool:
        """Whether the branch and the line part where the release was reset."""
        beside = self._line.get(root.number)
        if beside is None or beside.previous != root.previous:
            return False
        return root.reset or beside.reset


def _range(first: int, last: int) -> str:
    return f"number {first}" if first == last else f"numbers {first} to {last}"


def _short(digest: str) -> str:
    return f"{digest[:_SHOWN]}…"
