"""What HAProxy is told, as text: how requests are split, the backends, and the script.

HAProxy decides each request by one line of the map (`values`). The script does what its rules
can't: it looks whether a request is one of an audience, whose headers are named at run time; and it
reads the file of the map once a second, and takes up what is newer there. So a process whose
socket was not reached (it was starting, or the writer died in between) serves the new route in a
second, and never an older one.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from adapters.routers.haproxy.names import NOBODY

USER_HEADER: Final = "x-user-id"
USER_COOKIE: Final = "aviary-user"
FORCE_HEADER: Final = "x-canary"
FORCE_COOKIE: Final = "canary"
ROUTES: Final = "aviary-routes"
"""The defaults of a frontend that splits."""
POOLS: Final = "aviary-pools"
"""The defaults of backends."""

_FRONT: Final = """\
# Written by Aviary. A frontend of your own splits like this one if it has `from {routes}` and the
# line `use_backend`.
global
    lua-load-per-thread {script}

defaults {routes}
    mode http
    timeout client 60s
    timeout http-request 10s
    timeout http-keep-alive 60s
    option http-keep-alive
    option idle-close-on-response
    default_backend {nobody}
    http-request set-var(txn.service) req.hdr(host),field(1,:),lower,regsub([.]local$,)
    http-request set-var(txn.route) var(txn.service),map_str({map})
    http-request set-var(txn.stable) var(txn.route),field(1,|)
    http-request set-var(txn.canary) var(txn.route),field(2,|)
    http-request set-var(txn.parts) var(txn.route),field(3,|),add(0)
    http-request set-var(txn.audience) var(txn.route),field(6,|)
    # Without a canary all is stable's, and nothing more is looked at.
    http-request set-var(txn.split) bool(true) if {{ var(txn.canary) -m len gt 0 }}
    # Who asks for a version.
    http-request set-var(txn.wish) req.cook({force_cookie}) if {{ var(txn.split) -m bool }} \
{{ req.cook({force_cookie}) -m str always never }}
    http-request set-var(txn.wish) req.fhdr({force_header}) if {{ var(txn.split) -m bool }} \
{{ req.fhdr({force_header}) -m str always never }}
    # Who the user is; one without a name is given one.
    http-request set-var(txn.user) req.cook({user_cookie}) if {{ var(txn.split) -m bool }}
    http-request set-var(txn.user) req.fhdr({user_header}) if {{ var(txn.split) -m bool }} \
{{ req.fhdr({user_header}) -m len gt 0 }}
    http-request set-var(txn.named) uuid if {{ var(txn.split) -m bool }} \
!{{ var(txn.user) -m len gt 0 }}
    http-request set-var(txn.user) var(txn.named) if {{ var(txn.named) -m found }}
    http-after-response add-header set-cookie \
"{user_cookie}=%[var(txn.named)]; Path=/; Max-Age=2592000" if {{ var(txn.named) -m found }}
    # Below 0: one of the canary's parts.
    http-request set-var(txn.left) var(txn.user),xxh32(0),mod(10000),sub(txn.parts) \
if {{ var(txn.split) -m bool }}
    http-request set-var(txn.outside) bool(true) if {{ var(txn.audience) -m len gt 0 }} \
!{{ lua.aviary_in_audience -m bool }}
    http-request set-var(txn.pool) var(txn.stable)
    http-request set-var(txn.pool) var(txn.canary) if {{ var(txn.split) -m bool }} \
{{ var(txn.left) -m int lt 0 }} {{ var(txn.canary),nbsrv -m int gt 0 }}
    # A process that stops for a newer one counts no servers any more, and still has them.
    http-request set-var(txn.pool) var(txn.canary) if {{ var(txn.split) -m bool }} \
{{ var(txn.left) -m int lt 0 }} {{ stopping -m bool }}
    # Counted apart.
    http-request set-var(txn.pool) var(txn.stable),concat(:apart) \
if {{ var(txn.outside) -m bool }}
    http-request set-var(txn.pool) var(txn.stable),concat(:apart) \
if {{ var(txn.wish) -m str never }}
    http-request set-var(txn.pool) var(txn.canary),concat(:apart) \
if {{ var(txn.wish) -m str always }}

defaults {pools}
    mode http
    timeout connect 1s
    timeout queue 1s
    timeout server 60s
    option redispatch 1
    retries 2
    retry-on conn-failure

backend {nobody} from {pools}
    http-request return status 503 if {{ var(txn.route) -m found }}
    http-request return status 404
{frontend}"""
_FRONTEND: Final = """
frontend aviary from {routes}
{binds}
    use_backend %[var(txn.pool)] if {{ var(txn.pool) -m found }}
"""
_SCRIPT: Final = """\
-- Written by Aviary.
local path = {path}
local routes = Map.new(path, Map._str)

local function generation(value)
  return tonumber((value or ""):match("^[^|]*|[^|]*|%d+|(%d+)|")) or -1
end

local function decoded(text)
  return (text:gsub("%%(%x%x)", function(hex) return string.char(tonumber(hex, 16)) end))
end

local function has(found, compared, value)
  if found == nil then return false end
  if compared == "^" then return found:sub(1, #value) == value end
  return found == value
end

local function has_cookie(txn, name, compared, value)
  for part in (txn.f:req_fhdr("cookie") or ""):gmatch("[^;]+") do
    local key, found = part:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
    if key == name and has(found:match('^"(.*)"$') or found, compared, value) then return true end
  end
  return false
end

local function is_from(txn, network)
  local source = (txn.f:src() or ""):gsub("^::ffff:", "")
  local found, wanted = core.parse_addr(source), core.parse_addr(network)
  return found ~= nil and wanted ~= nil and core.match_addr(found, wanted)
end

local function fits(txn, by, name, compared, value)
  if by == "cookie" then return has_cookie(txn, name, compared, value) end
  if by == "header" then return has(txn.f:req_fhdr(name), compared, value) end
  if by == "query" then return has(txn.f:urlp(name), compared, value) end
  if by == "network" then return is_from(txn, value) end
  if by == "path" then return has(txn.f:path(), compared, value) end
  return by == "method" and has(txn.f:method(), compared, value)
end

-- One of the matches, between commas, has to fit, with all of its conditions, between &.
core.register_fetches("aviary_in_audience", function(txn)
  for match in (txn:get_var("txn.audience") or ""):gmatch("[^,]+") do
    local all = true
    for no, by, name, compared, value in match:gmatch("(!?)(%a+):([^=^&]*)([=^])([^&]*)") do
      local it = fits(txn, by, decoded(name), compared, decoded(value))
      all = all and it ~= (no == "!")
    end
    if all then return true end
  end
  return false
end)

local function take_up()
  local file = io.open(path, "r")
  if file == nil then return end
  for line in file:lines() do
    local key, value = line:match("^([%w-]+) (%S+)$")
    local now = key and routes:lookup(key)
    if key and now == nil then
      core.add_map(path, key, value)
    elseif key and generation(value) > generation(now) then
      core.set_map(path, key, value)
    end
  end
  file:close()
end

if core.thread <= 1 then
  core.register_task(function()
    while true do
      pcall(take_up)
      core.msleep(1000)
    end
  end)
end
"""
_BACKEND: Final = """
backend {name} from {pools}
    balance leastconn
"""
_NO_TEXT: Final = re.compile(r"[\x00-\x20\"'\\#]")


def checked(text: str, what: str) -> str:
    """A word of HAProxy's configuration.

    Raises:
        ValueError: it would be more than one word, or a comment.
    """
    if not text or _NO_TEXT.search(text):
        raise ValueError(f"{what}: expected no blank, quote, # or backslash, found {text!r}")
    return text


def front(directory: Path, binds: Sequence[str]) -> str:
    """`aviary.cfg`: the rules, and a frontend where any address is given.

    Args:
        directory: the folder, as HAProxy sees it.
        binds: addresses to listen on, such as `:10000`.
    """
    listening = "\n".join(f"    bind {checked(one, 'bind')}" for one in binds)
    return _FRONT.format(
        routes=ROUTES,
        pools=POOLS,
        nobody=NOBODY,
        script=checked(str(directory / "aviary.lua"), "directory"),
        map=checked(str(directory / "routes.map"), "directory"),
        force_cookie=FORCE_COOKIE,
        force_header=FORCE_HEADER,
        user_cookie=USER_COOKIE,
        user_header=USER_HEADER,
        frontend=_FRONTEND.format(routes=ROUTES, binds=listening) if binds else "",
    )


def script(directory: Path) -> str:
    """`aviary.lua`."""
    path = checked(str(directory / "routes.map"), "directory")
    return _SCRIPT.replace("{path}", f'"{path}"')


def backends(
    name: str, apart: str, servers: Sequence[tuple[str, int]], health_path: str | None
) -> str:
    """The backend of a version, and the one for what no split sends there."""
    check = ["    option httpchk"] if health_path is not None else []
    if health_path is not None:
        check.append(f"    http-check send meth GET uri {checked(health_path, 'health_path')}")
    own, others = [], []
    for number, (host, port) in enumerate(servers, 1):
        address = f"{checked(host, 'host')}:{port}"
        probed = "check inter 1s fastinter 200ms downinter 1s fall 2 rise 1"
        watched = "observe layer4 error-limit 2 on-error mark-down"
        own.append(f"    server i{number} {address} {probed} {watched}")
        others.append(f"    server i{number} {address} track {name}/i{number}")
    head = [_BACKEND.format(name=one, pools=POOLS).rstrip("\n") for one in (name, apart)]
    return "\n".join([head[0], *check, *own, head[1], *others]) + "\n"
