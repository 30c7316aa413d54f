"""The lane of a release in Envoy's terms: how a request has it, and is given it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from schemas.lane import BAGGAGE, MEMBER, Lane

LANE_STAT: Final = "lane"
"""Requests that had the lane are counted under it: `vhost.<service>.route.lane.…`."""


def carried(lane: Lane) -> dict[str, Any]:
    """What a request's header matches that has the lane, among others perhaps.

    Envoy joins headers of one name with commas before it looks.
    """
    name = re.escape(lane.name)
    one = rf"{MEMBER}\s*=\s*{name}\s*(;.*)?" if lane.header == BAGGAGE else name
    regex = rf"(.*,)?\s*{one}\s*(,.*)?"
    return {"name": lane.header, "string_match": {"safe_regex": {"regex": regex}}}


def given(lane: Lane) -> Iterator[tuple[Sequence[Mapping[str, Any]], Mapping[str, Any]]]:
    """How the lane is added: for each kind of request what it matches, and what is set.

    There is one header afterwards, as many libraries read the first of a name alone; and no empty
    member in its list, for which some of them throw away the whole.
    """
    present = {"name": lane.header, "string_match": {"safe_regex": {"regex": r".*[^\s,].*"}}}
    yield [present], _set(lane.header, f"%REQ({lane.header})%,{lane.member}")
    yield [], _set(lane.header, lane.member)


def _set(name: str, value: str) -> dict[str, Any]:
    header = {"key": name, "value": value}
    action = "OVERWRITE_IF_EXISTS_OR_ADD"
    return {"request_headers_to_add": [{"header": header, "append_action": action}]}
