-- Which version gets a request: what it asks for, whom the canary is for, the weights.
local counts = require "aviary.counts"
local documents = require "aviary.documents"
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

local function is_for(audience)
    for _, match in ipairs(audience.any_of) do
        local found
        if match.by == "header" then
            found = header(match.name)
        else
            found = cookie(match.name)
        end
        if found == match.value then
            return true
        end
    end
    return false
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
    if not version and route.audience and not is_for(route.audience) then
        version = stable.version
    end
    if not version then
        local user, is_new = user_of()
        local place, bucket = places(user)
        version = stable.version
        -- The canary has the lowest places, so that nobody leaves it while it grows.
        if canary and place < canary.parts then
            version = canary.version
        end
        chosen.path, chosen.bucket = "split", bucket
        chosen.user = canary and is_new and user or nil
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
