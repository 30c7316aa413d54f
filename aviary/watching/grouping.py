"""Which templates go out together: pure, and told the time.

Templates with the same release, or of the same commit, are a group, and those with neither are one
as well. A group is whole when nothing has joined it for the quiet time, or when it has waited long
enough.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from aviary.watching.templates import Key, Template


@dataclass(frozen=True)
class Group:
    """Templates that go out together, by the names of their services."""

    key: Key
    templates: tuple[Template, ...]


@dataclass
class _Open:
    first: float
    last: float
    templates: dict[str, Template] = field(default_factory=dict)


class Groups:
    """Groups that are not whole yet. A template is in one of them at most, in its newest state.

    Args:
        quiet_s: seconds without another template after which a group is whole.
        longest_s: seconds after which it is whole in any case.
    """

    def __init__(self, quiet_s: float, longest_s: float) -> None:
        self._quiet_s, self._longest_s = quiet_s, longest_s
        self._open: dict[Key, _Open] = {}

    def add(self, template: Template, at: float) -> None:
        """Take a template; the same state again changes nothing.

        Args:
            template: in place of an older state of it, whichever group that was in.
            at: seconds, on a clock that only grows.
        """
        uid = template.of.uid
        known = self._open.get(template.key)
        if known is not None and known.templates.get(uid) == template:
            return
        if known is None or uid not in known.templates:
            self.drop(uid)
        group = self._open.setdefault(template.key, _Open(at, at))
        group.last = at
        group.templates[uid] = template

    def drop(self, uid: str) -> None:
        """Forget a template: it is gone, or can't be used any more."""
        for key, group in list(self._open.items()):
            if group.templates.pop(uid, None) is not None and not group.templates:
                del self._open[key]

    def next_at(self) -> float | None:
        """When the next group is whole; None while there is none."""
        return min(map(self._whole_at, self._open.values()), default=None)

    def due(self, at: float) -> list[Group]:
        """Hand out the groups that are whole, the oldest first."""
        ready = [key for key, group in self._open.items() if self._whole_at(group) <= at]
        ready.sort(key=lambda key: self._open[key].first)
        return [self._group(key, self._open.pop(key)) for key in ready]

    def _whole_at(self, group: _Open) -> float:
        return min(group.last + self._quiet_s, group.first + self._longest_s)

    @staticmethod
    def _group(key: Key, group: _Open) -> Group:
        found = sorted(group.templates.values(), key=lambda one: (one.service, one.of.uid))
        return Group(key, tuple(found))
