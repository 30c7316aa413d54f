-- What may be written: routes and pools, checked to the last field. Each check gives the parsed
-- document, or nil and a text that names the field, the value and what was expected.
local cjson = require("cjson").new()
local networks = require "aviary.networks"

cjson.decode_max_depth(8)

local TOTAL = 10000 -- parts of all requests; it never changes, or users would move
local LARGEST = 9007199254740991 -- of the whole numbers that Lua can count
local COUNTABLE = "a whole number from 0 to 2^53 - 1"
local MOST_TEXT = 1024
local MOST_MATCHES = 100
local MOST_CONDITIONS = 10
local MOST_KEPT = 20
local MOST_ENDPOINTS = 1000

local M = {TOTAL = TOTAL}

local function shown(value)
    local text = type(value) == "string" and value or type(value) == "table" and "an object or list"
        or tostring(value)
    return #text > 60 and text:sub(1, 60) .. "..." or text
end

local function wrong(field, value, expected)
    return nil, field .. ": found " .. shown(value) .. ", expected " .. expected
end

local function is_text(value, most)
    return type(value) == "string" and #value <= most and not value:find("%c")
end

local function check_fields(at, value, allowed)
    if type(value) ~= "table" then
        return wrong(at, value, "an object")
    end
    for name in pairs(value) do
        if not allowed[name] then
            return wrong(at .. shown(name), "it", "no such field")
        end
    end
    return true
end

local function check_list(at, value, most)
    if type(value) ~= "table" or #value < 1 or #value > most then
        return wrong(at, value, "a list of 1 to " .. most)
    end
    local count = 0
    for _ in pairs(value) do
        count = count + 1
    end
    if count ~= #value then
        return wrong(at, value, "a list")
    end
    return true
end

local function is_version(value)
    return is_text(value, 136) and value:find("^[%w][%w.+_:-]*$") ~= nil
end

local function is_generation(value)
    return type(value) == "number" and value >= 0 and value <= LARGEST and value % 1 == 0
end

local ARM = {version = true, weight = true}

local function check_arms(arms)
    local ok, why = check_list("arms", arms, 2)
    if not ok then
        return nil, why
    end
    local total = 0
    for number, arm in ipairs(arms) do
        local at = "arms." .. number .. "."
        ok, why = check_fields(at, arm, ARM)
        if not ok then
            return nil, why
        end
        if not is_version(arm.version) then
            return wrong(at .. "version", arm.version, "a version")
        end
        if type(arm.weight) ~= "number" or not (arm.weight >= 0 and arm.weight <= 100) then
            return wrong(at .. "weight", arm.weight, "0 to 100")
        end
        local parts = math.floor(arm.weight * 100 + 0.5)
        if math.abs(parts - arm.weight * 100) > 1e-6 then
            return wrong(at .. "weight", arm.weight, "steps of 0.01")
        end
        arm.parts = parts
        total = total + parts
    end
    if total ~= TOTAL then
        return wrong("arms", total / 100, "weights that add up to 100")
    end
    if arms[2] and arms[1].version == arms[2].version then
        return wrong("arms", arms[1].version, "two versions")
    end
    return true
end

local CONDITION = {by = true, name = true, value = true, how = true, negated = true}
local MATCH = {by = true, name = true, value = true, how = true, negated = true, also = true}
local NAMED = {header = true, cookie = true, query = true, path = false, method = false,
    network = false}
local HOW = {equal = true, prefix = true, regex = true}

local function check_condition(at, one, allowed)
    local ok, why = check_fields(at, one, allowed)
    if not ok then
        return nil, why
    end
    local named = NAMED[one.by]
    if named == nil then
        return wrong(at .. "by", one.by, "header, cookie, query, path, method or network")
    end
    if not is_text(one.name, 100) or (one.name ~= "") ~= named then
        return wrong(at .. "name", one.name, named and "a name" or "none")
    end
    if not is_text(one.value, 256) or one.value == "" then
        return wrong(at .. "value", one.value, "a value")
    end
    if not HOW[one.how or "equal"] then
        return wrong(at .. "how", one.how, "equal, prefix or regex")
    end
    if one.negated ~= nil and type(one.negated) ~= "boolean" then
        return wrong(at .. "negated", one.negated, "true or false")
    end
    if one.by == "network" then
        one.network = (one.how or "equal") == "equal" and networks.parsed(one.value)
        if not one.network then
            return wrong(at .. "value", one.value, "a network such as 10.1.0.0/16")
        end
    end
    if one.how == "regex" then
        one.whole = "\\A(?:" .. one.value .. ")\\z"
        local _, _, failed = ngx.re.find("", one.whole, "jo")
        if failed then
            return wrong(at .. "value", one.value, "a regular expression")
        end
    end
    return true
end

local function check_audience(at, audience)
    local ok, why = check_fields(at, audience, {any_of = true})
    if ok then
        ok, why = check_list(at .. "any_of", audience.any_of, MOST_MATCHES)
    end
    if not ok then
        return nil, why
    end
    for number, match in ipairs(audience.any_of) do
        local here = at .. "any_of." .. number .. "."
        ok, why = check_condition(here, match, MATCH)
        if ok and match.also ~= nil then
            ok, why = check_list(here .. "also", match.also, MOST_CONDITIONS)
        end
        if not ok then
            return nil, why
        end
        for place, one in ipairs(match.also or {}) do
            ok, why = check_condition(here .. "also." .. place .. ".", one, CONDITION)
            if not ok then
                return nil, why
            end
        end
    end
    return true
end

local function check_kept(kept)
    local ok, why = check_list("kept", kept, MOST_KEPT)
    if not ok then
        return nil, why
    end
    for number, share in ipairs(kept) do
        local at = "kept." .. number .. "."
        ok, why = check_fields(at, share, {audience = true, weight = true})
        if ok and share.audience ~= nil then
            ok, why = check_audience(at .. "audience.", share.audience)
        end
        if not ok then
            return nil, why
        end
        if type(share.weight) ~= "number" or not (share.weight > 0 and share.weight <= 100) then
            return wrong(at .. "weight", share.weight, "more than 0, at most 100")
        end
    end
    return true
end

-- Whom the canary is for, the largest weight first: as `Route.tiers` in schemas/route.py.
local function tiers(route)
    local canary = route.arms[2]
    local found = {
        {audience = route.audience, parts = canary and canary.parts or 0, counted = true},
    }
    for _, share in ipairs(route.kept or {}) do
        local parts = math.floor(share.weight * 100 + 0.5)
        found[#found + 1] = {audience = share.audience, parts = parts, counted = false}
    end
    table.sort(found, function(one, other)
        if one.parts ~= other.parts then
            return one.parts > other.parts
        end
        return one.counted and not other.counted
    end)
    return found
end

local ROUTE = {
    service = true, arms = true, audience = true, kept = true, generation = true, owner = true,
}

local function decoded(text)
    local ok, value = pcall(cjson.decode, text)
    if not ok or type(value) ~= "table" then
        return wrong("document", text, "a JSON object")
    end
    return value
end

-- A route as Aviary writes it (`schemas/route.py`).
function M.route(text)
    local route, why = decoded(text)
    local ok = route
    if ok then
        ok, why = check_fields("", route, ROUTE)
    end
    if ok and not is_text(route.service, 63) then
        return wrong("service", route.service, "a name")
    end
    if ok then
        ok, why = check_arms(route.arms)
    end
    if ok and route.audience ~= nil then
        ok, why = check_audience("audience.", route.audience)
    end
    if ok and route.kept ~= nil then
        ok, why = check_kept(route.kept)
    end
    if not ok then
        return nil, why
    end
    if not is_generation(route.generation) then
        return wrong("generation", route.generation, COUNTABLE)
    end
    if not is_text(route.owner, MOST_TEXT) then
        return wrong("owner", route.owner, "a text of at most " .. MOST_TEXT .. " characters")
    end
    route.tiers = tiers(route)
    return route
end

local function endpoint(text)
    local host, port = text:match("^(%d+%.%d+%.%d+%.%d+):(%d+)$")
    if not host then
        host, port = text:match("^(%[[%x:.]+%]):(%d+)$")
    end
    port = tonumber(port)
    if not host or port < 1 or port > 65535 then
        return nil
    end
    for part in host:gmatch("^%d.*") do
        for number in part:gmatch("%d+") do
            if tonumber(number) > 255 then
                return nil
            end
        end
    end
    return {host, port, text}
end

local POOL = {service = true, version = true, endpoints = true, generation = true}

-- The instances of one version: `{"service": .., "version": .., "endpoints": ["10.0.0.7:8080"],
-- "generation": 0}`. Without endpoints it was forgotten, and its generation stays as a fence.
function M.pool(text)
    local pool, why = decoded(text)
    local ok = pool
    if ok then
        ok, why = check_fields("", pool, POOL)
    end
    if ok and not is_text(pool.service, 63) then
        return wrong("service", pool.service, "a name")
    end
    if ok and not is_version(pool.version) then
        return wrong("version", pool.version, "a version")
    end
    if ok and not (type(pool.endpoints) == "table" and next(pool.endpoints) == nil) then
        ok, why = check_list("endpoints", pool.endpoints, MOST_ENDPOINTS)
    end
    if not ok then
        return nil, why
    end
    if not is_generation(pool.generation) then
        return wrong("generation", pool.generation, COUNTABLE)
    end
    pool.peers = {}
    for number, one in ipairs(pool.endpoints) do
        local peer = type(one) == "string" and endpoint(one)
        if not peer then
            return wrong("endpoints." .. number, one, "an IP address and a port, 10.0.0.7:8080")
        end
        pool.peers[number] = peer
    end
    return pool
end

-- The line that a pool is stored as.
function M.pool_line(service, version, endpoints, generation)
    local parts = {}
    for number, one in ipairs(endpoints) do
        parts[number] = '"' .. one .. '"'
    end
    return string.format('{"service":"%s","version":"%s","endpoints":[%s],"generation":%.0f}', service,
        version, table.concat(parts, ","), generation)
end

return M
