"""How Envoy counts a sample of its requests by buckets of users, each bucket by version.

One request in sixteen, drawn by its random id, is counted a second time under its user's bucket:
`cluster.<pool>.users-<bucket>.upstream_rq_completed`. The bucket is a hash of what the split goes
by, so all of a user's requests are in one. A request without a user, which the split draws anew
each time, has a bucket by chance. 64 buckets tell a router that does not do its weight from a few
users with many requests, which the counts of versions alone can't (docs/judging.md).
"""

from __future__ import annotations

from typing import Any, Final

from adapters.routers.envoy.names import TYPES

BUCKETS: Final = 64
PREFIX: Final = "users-"
USER_HEADER: Final = "x-user-id"
USER_COOKIE: Final = "aviary-user"
_STAT_HEADER: Final = "x-envoy-upstream-alt-stat-name"
_DRAWN: Final = "0"
"""Last digit of the random ids, which are hexadecimal, that are counted."""
_EXTENSIONS: Final = f"{TYPES}envoy.extensions"
_SCRIPT: Final = """\
function envoy_on_request(handle)
  local headers = handle:headers()
  local user = headers:get("%(header)s")
  if user == nil then
    local cookies = ";" .. (headers:get("cookie") or "")
    user = cookies:match('[;, ]%(cookie)s="?([^";,]*)') or headers:get("x-request-id")
  end
  local hash = 5381
  for i = 1, #user do hash = (hash * 33 + user:byte(i)) %% 4294967296 end
  headers:replace("%(stat)s", "%(prefix)s" .. hash %% %(buckets)d)
end
"""


def filters() -> list[dict[str, Any]]:
    """HTTP filters of the listener, to stand before its router.

    Nobody outside may name a counter: the first of them takes such a header away.
    """
    removed = {"request_mutations": [{"remove": _STAT_HEADER}]}
    return [
        {
            "name": "no-counters-of-callers",
            "typed_config": _typed("filters.http.header_mutation.v3.HeaderMutation")
            | {"mutations": removed},
        },
        {
            "name": "sample-of-users",
            "typed_config": _typed("common.matching.v3.ExtensionWithMatcher")
            | {
                "extension_config": _extension("composite", "filters.http.composite.v3.Composite"),
                "xds_matcher": {"matcher_list": {"matchers": [_drawn()]}},
            },
        },
    ]


def stats_config() -> dict[str, Any]:
    """Of all that Envoy counts under a second name, keep how many requests there were."""
    rest = r"(external|internal|canary|zone)\..*|upstream_rq_(time|\dxx|\d\d\d)"
    pattern = rf"cluster\..*\.{PREFIX}\d+\.({rest})"
    return {"stats_matcher": {"exclusion_list": {"patterns": [{"safe_regex": {"regex": pattern}}]}}}


def _drawn() -> dict[str, Any]:
    script = _SCRIPT % {
        "header": USER_HEADER,
        "cookie": USER_COOKIE.replace("-", "%-"),
        "stat": _STAT_HEADER,
        "prefix": PREFIX,
        "buckets": BUCKETS,
    }
    counted = _extension("lua", "filters.http.lua.v3.Lua")
    counted["typed_config"]["default_source_code"] = {"inline_string": script}
    action = _extension("count", "filters.http.composite.v3.ExecuteFilterAction")
    action["typed_config"]["typed_config"] = counted
    request_id = {
        "name": "request-id",
        "typed_config": {
            "@type": f"{TYPES}envoy.type.matcher.v3.HttpRequestHeaderMatchInput",
            "header_name": "x-request-id",
        },
    }
    drawn = {"input": request_id, "value_match": {"suffix": _DRAWN}}
    return {"predicate": {"single_predicate": drawn}, "on_match": {"action": action}}


def _extension(name: str, kind: str) -> dict[str, Any]:
    return {"name": name, "typed_config": _typed(kind)}


def _typed(kind: str) -> dict[str, Any]:
    return {"@type": f"{_EXTENSIONS}.{kind}"}
