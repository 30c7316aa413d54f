"""Versions as labels spell them.

A label of Kubernetes takes 63 characters, letters, digits and `. _ -` alone, and ends with a letter
or a digit. So `v1.3.0+build.7` is `1.3.0_build.7` there, a long version is cut, and a digest is
`sha256-4f53…`, or as many of its digits as some tool shows. What is compared here is what is meant,
and never the case: `RC1` is not `rc1`.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

LABEL_MOST: Final = 63
"""Longest value of a label of Kubernetes, in characters."""

_NOT_AT_THE_END: Final = "._-"
_PREFIX: Final = re.compile(r"v(?=[0-9])", re.IGNORECASE)
_DIGEST: Final = re.compile(r"(sha(?:256|512))[:_-](?=[0-9a-f]{32})")
_WHOLE_DIGEST: Final = re.compile(r"sha(?:256|512):([0-9a-f]{64,128})")
_OF_A_DIGEST: Final = re.compile(r"(?:sha(?:256|512)[:_-])?([0-9a-f]{12,128})")
"""As much of one as tools show, with its algorithm or without: twelve digits or more."""
_LONG_DIGEST: Final = re.compile(r"(sha(?:256|512):[0-9a-f]{12})[0-9a-f]+")
_NOT_IN_A_LABEL: Final = re.compile(r"[+:]")


def same_version(label: str, version: str) -> bool:
    """Whether a label's value means this version, spelt as labels can spell it.

    Args:
        label: what the label says; it may be whole, or cut as Kubernetes needs it.
        version: as the pipeline named it.
    """
    if label == version or _plain(label) == _plain(version):
        return True
    if digest := _WHOLE_DIGEST.fullmatch(version):
        part = _OF_A_DIGEST.fullmatch(label)
        return part is not None and digest[1].startswith(part[1])
    said = _in_a_label(label)
    return len(label) <= LABEL_MOST and said in _cut_forms(version)


def named_version(labels: Mapping[str, str], names: Iterable[str]) -> tuple[str, str] | None:
    """The first of these labels that says a version, and what it says; None if none does."""
    return next(((name, labels[name]) for name in names if labels.get(name)), None)


def short(version: str) -> str:
    """A version for a narrow place: of a digest as much as git shows of one."""
    return _LONG_DIGEST.sub(r"\1…", version)


def _plain(version: str) -> str:
    """Without what a label can't have, and without the `v` before a number."""
    return _in_a_label(_PREFIX.sub("", version, count=1) if _PREFIX.match(version) else version)


def _in_a_label(version: str) -> str:
    """With the characters of a label alone; the two ways to write a digest become one."""
    return _NOT_IN_A_LABEL.sub("_", _DIGEST.sub(r"\1-", version)).rstrip(_NOT_AT_THE_END)


def _cut_forms(version: str) -> set[str]:
    """What is left of the version where it is too long for a label, with a `v` and without."""
    plain = _plain(version)
    forms = (plain, f"v{plain}", f"V{plain}") if plain[:1].isdigit() else (plain,)
    return {form[:LABEL_MOST].rstrip(_NOT_AT_THE_END) for form in forms if len(form) > LABEL_MOST}
