-- Which instances a version has: an upstream of the configuration, or addresses that were written
-- through the internal server.
local files = require "aviary.files"
local state = require "aviary.state"

local ENDPOINTS = "aviary_endpoints" -- the upstream whose peer is chosen by Lua

local M = {}
local marked = {} -- upstreams of this configuration, by service and version

local function read(path)
    local content, why = files.read(path)
    if not content or content == "" then
        error("aviary: upstreams: " .. (why or path .. ": empty or not there"), 0)
    end
    local service, version
    for line in content:gmatch("[^\n]+") do
        local one, other = line:match("^%s*#%s*aviary:%s*(%S+)%s+(%S+)%s*$")
        if one then
            service, version = one, other
        elseif service and line:find("%S") then
            local name = line:match("^%s*upstream%s+([^%s{\"']+)")
            if not name then
                error("aviary: " .. path .. ": below the mark of " .. service .. " " .. version
                    .. " expected an upstream, found: " .. line, 0)
            end
            marked[service] = marked[service] or {}
            marked[service][version] = name
            service = nil
        end
    end
end

function M.setup(paths)
    marked = {}
    for _, path in ipairs(paths) do
        read(path)
    end
end

-- The upstream for a version; nil where it has no instances.
function M.upstream(service, version)
    if state.get("pool", service .. " " .. version) then
        return ENDPOINTS
    end
    return marked[service] and marked[service][version]
end

-- The addresses of a version: host, port and both as text; nil where it has an upstream.
function M.peers(service, version)
    local pool = state.get("pool", service .. " " .. version)
    return pool and pool.peers
end

-- The versions of a service that have instances, and the upstream or the addresses of each.
function M.versions(service)
    local found = {}
    for version, name in pairs(marked[service] or {}) do
        found[version] = name
    end
    local prefix = service .. " "
    for _, key in ipairs(state.keys("pool")) do
        if key:sub(1, #prefix) == prefix then
            local pool = state.get("pool", key)
            found[key:sub(#prefix + 1)] = pool and pool.endpoints
        end
    end
    return found
end

return M
