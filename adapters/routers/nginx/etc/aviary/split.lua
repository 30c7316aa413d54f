-- Which version gets a request: what it asks for, whom the canary is for, the weights.
local counts = require "aviary.counts"
local documents = require "aviary.documents"
local networks = require "aviary.networks"
local pools = require "aviary.pools"
local state = require "aviary.state"

local USER_COOKIE = "aviary-user"
local FORCE_COOKIE = "canary"
local MONTH = 2592000

local M = {}

-- The value of a cookie; the first of that name, without quotes around it.
local function cookie(name)
    local all = ngx.var.http_cookie
    if not all then
        return nil
    end
    for pair in all:gmatch("[^;]+") do
        local key, value = pair:match("^%s*([^=]-)%s*=%s*(.-)%s*$")
        if key == name then
            return value:match('^"(.*)"$') or value
        end
    end
end

local function header(name)
    local value = ngx.req.get_headers(0)[name]
    return type(value) == "table" and table.concat(value, ",") or value
end

-- The version that a request asks for; nil where it does not.
local function asked(route)
    local wish = ngx.var.http_x_canary
    if wish ~= "always" and wish ~= "never" then
        wish = cookie(FORCE_COOKIE)
    end
    if wish == "always" then
        return route.arms[2].version
    elseif wish == "never" then
        return route.arms[1].version
    end
end

local function query(name)
    local value = ngx.req.get_uri_args(0)[name]
    if type(value) == "table" then
        value = value[1]
    end
    return value == true and "" or value
end

local function found_of(condition)
    if condition.by == "header" then
        return header(condition.name)
    elseif condition.by == "cookie" then
        return cookie(condition.name)
    elseif condition.by == "query" then
        return query(condition.name)
    elseif condition.by == "path" then
        return ngx.var.uri
    end
    return ngx.req.get_method()
end

local function has(condition)
    if condition.by == "network" then
        return networks.has(condition.network, ngx.var.binary_remote_addr)
    end
    local found = found_of(condition)
    if not found then
        return false
    elseif condition.how == "prefix" then
        return found:sub(1, #condition.value) == condition.value
    elseif condition.how == "regex" then
        return ngx.re.find(found, condition.whole, "jo") ~= nil
    end
    return found == condition.value
end

local function fits(condition)
    return has(condition) ~= (condition.negated == true)
end

local function is_for(audience)
    for _, match in ipairs(audience.any_of) do
        local all = fits(match)
        for _, condition in ipairs(match.also or {}) do
            all = all and fits(condition)
        end
        if all then
            return true
        end
    end
    return false
end

-- The parts of the canary for whoever sent this request, and whether it is one of those whom the
-- weight is for: the first of the audiences that fits, the largest weight first.
local function share_of(route)
    for _, tier in ipairs(route.tiers) do
        if not tier.audience or is_for(tier.audience) then
            return tier.parts, tier.counted
        end
    end
    return 0, false
end

-- The user of a request, and whether it is one who was given a name just now.
local function user_of()
    local user = ngx.var.http_x_user_id
    if user and user ~= "" then
        return user, false
    end
    user = cookie(USER_COOKIE)
    if user and user ~= "" then
        return user, false
    end
    return ngx.var.request_id, true
end

-- Two numbers of a user: the place in the split, and the bucket that requests are counted in.
local function places(user)
    local a, b, c, d, e = ngx.md5_bin(user):byte(1, 5)
    return (((a * 256 + b) * 256 + c) * 256 + d) % documents.TOTAL, e % counts.BUCKETS
end

-- In rewrite_by_lua: set $aviary_pool for the service in $aviary_service.
function M.route()
    local service = ngx.var.aviary_service
    local route = state.get("route", service)
    if not route then
        return ngx.exit(ngx.HTTP_NOT_FOUND)
    end
    local stable, canary = route.arms[1], route.arms[2]
    local version = canary and asked(route)
    local chosen = {service = service, path = "apart"}
    if not version then
        local parts, counted = share_of(route)
        local user, is_new = user_of()
        local place, bucket = places(user)
        version = stable.version
        -- The canary has the lowest places, so that nobody leaves it while it grows.
        if canary and place < parts then
            version = canary.version
        end
        if counted then
            chosen.path, chosen.bucket = "split", bucket
        end
        chosen.user = canary and (counted or parts > 0) and is_new and user or nil
    end
    local upstream = pools.upstream(service, version)
    if not upstream and version ~= stable.version then
        -- A worker of an older configuration, on its last requests.
        version, upstream = stable.version, pools.upstream(service, stable.version)
    end
    if not upstream then
        ngx.log(ngx.ERR, "aviary: ", service, " ", version, ": no instances are known")
        return ngx.exit(ngx.HTTP_SERVICE_UNAVAILABLE)
    end
    chosen.version = version
    ngx.ctx.aviary = chosen
    ngx.var.aviary_pool = upstream
    counts.begun(chosen)
end

-- In header_filter_by_lua: a user without a name is given one, and so stays with a version.
function M.header()
    local chosen = ngx.ctx.aviary
    if not chosen or not chosen.user then
        return
    end
    local given = USER_COOKIE .. "=" .. chosen.user .. "; Path=/; Max-Age=" .. MONTH
        .. "; HttpOnly; SameSite=Lax"
    local others = ngx.header["Set-Cookie"]
    if others == nil then
        ngx.header["Set-Cookie"] = given
    elseif type(others) == "table" then
        others[#others + 1] = given
        ngx.header["Set-Cookie"] = others
    else
        ngx.header["Set-Cookie"] = {others, given}
    end
end

return M
