-- How many requests and answers each version had: since nginx started, over all workers, reloads
-- included. A key is its parts with "|" between them, which is in no name.
local state = require "aviary.state"

local BOUNDS = {0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10}
local PREFIX = "aviary_nginx_"

local M = {BUCKETS = 64}

local function dict()
    return ngx.shared.aviary_counts
end

local function add(key, amount)
    dict():incr(key, amount or 1, 0)
end

local function key_of(what, chosen)
    return what .. "|" .. chosen.service .. "|" .. chosen.version .. "|" .. chosen.path
end

-- A request that is sent to a version.
function M.begun(chosen)
    add(key_of("begun", chosen))
    if chosen.bucket then
        add("user|" .. chosen.service .. "|" .. chosen.version .. "|" .. chosen.bucket)
    end
end

-- In log_by_lua: how it ended.
function M.log()
    local chosen = ngx.ctx.aviary
    if not chosen then
        return
    end
    add(key_of("class" .. math.floor(ngx.status / 100), chosen))
    local seconds = tonumber(ngx.var.request_time) or 0
    local at = #BOUNDS + 1
    for number, bound in ipairs(BOUNDS) do
        if seconds <= bound then
            at = number
            break
        end
    end
    add(key_of("le" .. at, chosen))
    add(key_of("seconds", chosen), seconds)
    local _, tries = (ngx.var.upstream_addr or ""):gsub(", ", "")
    if tries > 0 then
        add(key_of("retries", chosen), tries)
    end
end

-- Requests that the split sent to a version, and those of each bucket of users.
function M.of(service, version)
    local buckets = {}
    for bucket = 0, M.BUCKETS - 1 do
        local count = dict():get("user|" .. service .. "|" .. version .. "|" .. bucket)
        if count then
            buckets[tostring(bucket)] = count
        end
    end
    return dict():get("begun|" .. service .. "|" .. version .. "|split") or 0, buckets
end

-- Forget a version that is gone.
function M.forget(service, version)
    local middle = "|" .. service .. "|" .. version .. "|"
    for _, key in ipairs(dict():get_keys(0)) do
        if key:find(middle, 1, true) then
            dict():delete(key)
        end
    end
end

-- All that have been counted, or have a route, each as service, version and path.
local function counted()
    local found, list = {}, {}
    local function see(service, version, path)
        local name = service .. "|" .. version .. "|" .. path
        if not found[name] then
            found[name] = true
            list[#list + 1] = {service = service, version = version, path = path, name = name}
        end
    end
    for _, key in ipairs(dict():get_keys(0)) do
        local service, version, path = key:match("^begun|([^|]*)|([^|]*)|(.*)$")
        if service then
            see(service, version, path)
        end
    end
    for _, service in ipairs(state.keys("route")) do
        local route = state.get("route", service)
        for _, arm in ipairs(route and route.arms or {}) do
            see(service, arm.version, "split")
        end
    end
    table.sort(list, function(one, other) return one.name < other.name end)
    return list
end

local function head(out, name, kind, help)
    out[#out + 1] = "# HELP " .. PREFIX .. name .. " " .. help
    out[#out + 1] = "# TYPE " .. PREFIX .. name .. " " .. kind
end

local function say(out, name, one, value, more)
    out[#out + 1] = string.format('%s%s{service="%s",version="%s",path="%s"%s} %.14g', PREFIX, name,
        one.service, one.version, one.path, more or "", value)
end

local function say_durations(out, list)
    head(out, "request_duration_seconds", "histogram", "Time until the answer is complete.")
    for _, one in ipairs(list) do
        local total = 0
        for number = 1, #BOUNDS + 1 do
            total = total + (dict():get(key_of("le" .. number, one)) or 0)
            local bound = BOUNDS[number] and tostring(BOUNDS[number]) or "+Inf"
            say(out, "request_duration_seconds_bucket", one, total, ',le="' .. bound .. '"')
        end
        local seconds = dict():get(key_of("seconds", one)) or 0
        say(out, "request_duration_seconds_sum", one, seconds)
        say(out, "request_duration_seconds_count", one, total)
    end
end

-- In content_by_lua: everything, as Prometheus reads it.
function M.metrics()
    local out, list = {}, counted()
    head(out, "requests_total", "counter", "Requests sent to a version.")
    for _, one in ipairs(list) do
        say(out, "requests_total", one, dict():get(key_of("begun", one)) or 0)
    end
    head(out, "responses_total", "counter", "Answers, nginx' own included, by class.")
    for _, one in ipairs(list) do
        for class = 1, 5 do
            local count = dict():get(key_of("class" .. class, one)) or 0
            say(out, "responses_total", one, count, ',class="' .. class .. '"')
        end
    end
    head(out, "retries_total", "counter", "Tries beyond the first.")
    for _, one in ipairs(list) do
        say(out, "retries_total", one, dict():get(key_of("retries", one)) or 0)
    end
    say_durations(out, list)
    out[#out + 1] = ""
    ngx.header["Content-Type"] = "text/plain; version=0.0.4"
    ngx.print(table.concat(out, "\n"))
end

return M
