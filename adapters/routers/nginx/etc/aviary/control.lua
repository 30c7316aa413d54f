-- The internal server: reads and writes of routes and pools, and what is counted.
--
--   GET    /routes/<service>            the route that is served, its mark, the versions there are
--   PUT    /routes/<service>            X-Aviary-Over: <mark> of what the caller believes to be there,
--                                       `none`, or nothing: whatever is there is overruled
--   GET    /counts/<service>            requests of each version, and by bucket of users
--   GET    /pools                       all addresses, one document a version
--   GET    /pools/<service>             those of one service
--   PUT    /pools/<service>/<version>
--   DELETE /pools/<service>/<version>?generation=<of the order>
--
-- 404 no such address, 409 not newer than what is there, 412 not what the caller believes, 422 not
-- a document, 423 a route names the version, 503 and 507 could not be stored. Each says why as text.
local cjson = require("cjson").new()
local counts = require "aviary.counts"
local documents = require "aviary.documents"
local files = require "aviary.files"
local pools = require "aviary.pools"
local state = require "aviary.state"

local M = {}
local token

function M.setup(path)
    token = nil
    if path then
        local content, why = files.read(path)
        token = content and content:match("^%s*(%S+)%s*$")
        if not token then
            error("aviary: token_file: " .. (why or path .. ": expected one word"), 0)
        end
    end
end

local function answer(status, text)
    ngx.status = status
    ngx.header["Content-Type"] = status == 200 and "application/json" or "text/plain"
    ngx.print(text)
end

-- Takes as long for a wrong token as for a right one.
local function is_let_in()
    if not token then
        return true
    end
    local given = ngx.md5_bin(ngx.var.http_authorization or "")
    local wanted = ngx.md5_bin("Bearer " .. token)
    local difference = 0
    for at = 1, #wanted do
        difference = difference + math.abs(given:byte(at) - wanted:byte(at))
    end
    return difference == 0
end

local function mark_of(text)
    return ngx.md5(text)
end

local function versions_json(service)
    local parts = {}
    for version, at in pairs(pools.versions(service)) do
        parts[#parts + 1] = cjson.encode(version) .. ":" .. cjson.encode(at)
    end
    table.sort(parts)
    return "{" .. table.concat(parts, ",") .. "}"
end

local function get_route(service)
    local _, text = state.get("route", service)
    local stored, why = state.stored("route", service)
    if why then
        return answer(503, why)
    end
    return answer(200, string.format('{"route":%s,"stored":%s,"mark":"%s","versions":%s}',
        text or "null", stored or "null", text and mark_of(text) or "", versions_json(service)))
end

local function body()
    ngx.req.read_body()
    return ngx.req.get_body_data()
end

-- Versions that the route before did not have need instances; the others keep theirs, so that
-- nothing stands in the way back.
local function check_pools(route, before, text)
    local had = {}
    for _, arm in ipairs(before and before.arms or {}) do
        had[arm.version] = true
    end
    for _, arm in ipairs(route.arms) do
        if not had[arm.version] and not pools.upstream(route.service, arm.version) then
            return nil, 422, "arms: found " .. arm.version .. ", expected a version with instances"
        end
    end
    return text
end

-- Whether a route may be written. What is served counts beside what is stored: somebody may have
-- taken the file away, and nothing late may come back by that.
local function allow_route(route, text, over)
    return function(stored)
        if stored == text then
            return text -- the same once more
        end
        if over and over ~= (stored and mark_of(stored) or "none") then
            return nil, 412, route.service .. ": another route is there: " .. (stored or "none")
        end
        local before = stored and assert(documents.route(stored))
        local served = state.get("route", route.service)
        for _, other in ipairs {before or served, served or before} do
            if route.generation <= other.generation then
                return nil, 409, string.format("%s: generation %.0f is refused, %.0f is applied",
                    route.service, route.generation, other.generation)
            end
        end
        return check_pools(route, before or served, text)
    end
end

local function put_route(service)
    local text = body()
    if not text then
        return answer(422, "document: expected one in the request")
    end
    local route, why = documents.route(text)
    if route and route.service ~= service then
        route, why = nil, "service: found " .. route.service .. ", expected " .. service
    end
    if not route then
        return answer(422, why)
    end
    local allow = allow_route(route, text, ngx.var.http_x_aviary_over)
    local done, status, reason = state.change("route", service, allow)
    if not done then
        return answer(status, reason)
    end
    return answer(200, string.format('{"mark":"%s"}', mark_of(text)))
end

local function get_pools(service)
    local lines = {}
    for _, key in ipairs(state.keys("pool")) do
        if not service or key:match("^%S+") == service then
            local _, text = state.get("pool", key)
            lines[#lines + 1] = text
        end
    end
    return answer(200, '{"pools":[' .. table.concat(lines, ",") .. "]}")
end

-- The line for an order about a version's instances, if it may be obeyed: a person's (0) always
-- is, and lowers no fence.
local function ordered(stored, service, version, endpoints, generation)
    local line = documents.pool_line(service, version, endpoints, generation)
    local before = stored and assert(documents.pool(stored))
    if not before then
        return line
    end
    if generation ~= 0 and generation <= before.generation and line ~= stored then
        return nil, 409, string.format(
            "%s %s: endpoints of generation %.0f are refused, %.0f was obeyed", service, version,
            generation, before.generation)
    end
    local higher = math.max(generation, before.generation)
    return documents.pool_line(service, version, endpoints, higher)
end

local function put_pool(service, version)
    local pool, why = documents.pool(body() or "")
    if pool and (pool.service ~= service or pool.version ~= version) then
        pool, why = nil, "service, version: expected those of the address"
    elseif pool and #pool.endpoints == 0 then
        pool, why = nil, "endpoints: expected at least one"
    end
    if not pool then
        return answer(422, why)
    end
    local key = service .. " " .. version
    local done, status, reason = state.change("pool", key, function(stored)
        return ordered(stored, service, version, pool.endpoints, pool.generation)
    end)
    if not done then
        return answer(status, reason)
    end
    return answer(200, "{}")
end

local function delete_pool(service, version)
    local generation = tonumber(ngx.var.arg_generation)
    if not generation or generation < 0 or generation % 1 ~= 0 then
        return answer(422, "generation: expected a whole number from 0")
    end
    local key = service .. " " .. version
    local done, status, reason = state.change("pool", key, function(stored)
        local text = state.stored("route", service)
        local route = text and documents.route(text)
        for _, arm in ipairs(route and route.arms or {}) do
            if arm.version == version then
                return nil, 423, key .. ": its endpoints stay, the route names it"
            end
        end
        return ordered(stored, service, version, {}, generation)
    end)
    if not done then
        return answer(status, reason)
    end
    counts.forget(service, version)
    return answer(200, "{}")
end

local function get_counts(service)
    local requests, users = {}, {}
    for version in pairs(pools.versions(service)) do
        local count, buckets = counts.of(service, version)
        requests[#requests + 1] = cjson.encode(version) .. ":" .. string.format("%.0f", count)
        local parts = {}
        for bucket, number in pairs(buckets) do
            parts[#parts + 1] = '"' .. bucket .. '":' .. string.format("%.0f", number)
        end
        users[#users + 1] = cjson.encode(version) .. ":{" .. table.concat(parts, ",") .. "}"
    end
    return answer(200, string.format('{"is_known":%s,"requests":{%s},"users":{%s}}',
        tostring(state.get("route", service) ~= nil),
        table.concat(requests, ","), table.concat(users, ",")))
end

local NAME = "([%w-]+)"
local VERSION = "([%w.+_:-]+)"
local HANDLERS = {
    {"GET", "^/routes/" .. NAME .. "$", get_route},
    {"PUT", "^/routes/" .. NAME .. "$", put_route},
    {"GET", "^/counts/" .. NAME .. "$", get_counts},
    {"GET", "^/pools()$", function() return get_pools() end},
    {"GET", "^/pools/" .. NAME .. "$", get_pools},
    {"PUT", "^/pools/" .. NAME .. "/" .. VERSION .. "$", put_pool},
    {"DELETE", "^/pools/" .. NAME .. "/" .. VERSION .. "$", delete_pool},
}

-- In content_by_lua of the internal server.
function M.handle()
    if not is_let_in() then
        return answer(401, "expected the token of token_file")
    end
    local method = ngx.req.get_method()
    for _, one in ipairs(HANDLERS) do
        local first, second = ngx.var.uri:match(one[2])
        if first and method == one[1] then
            return one[3](first, second)
        end
    end
    return answer(404, "no such address")
end

return M
