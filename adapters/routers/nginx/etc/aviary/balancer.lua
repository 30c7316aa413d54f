-- Which instance of a version gets a request, where its addresses were written as data.
local ngx_balancer = require "ngx.balancer"
local pools = require "aviary.pools"

local MOST_TRIES = 3
local AVOIDED = 5 -- seconds without new requests, for one that failed

local M = {}
local turn = 0

local function failed()
    return ngx.shared.aviary_failed
end

-- The next in turn that has not failed of late; if all have, the next in turn.
local function pick(peers, tried)
    turn = turn + 1
    local last
    for step = 1, #peers do
        local peer = peers[(turn + step) % #peers + 1]
        if not tried[peer[3]] then
            last = last or peer
            if not failed():get(peer[3]) then
                return peer
            end
        end
    end
    return last or peers[turn % #peers + 1]
end

-- In balancer_by_lua, once a try.
function M.balance()
    local chosen = ngx.ctx.aviary
    local peers = chosen and pools.peers(chosen.service, chosen.version)
    if not peers then
        return ngx.exit(ngx.HTTP_BAD_GATEWAY)
    end
    if not chosen.tried then
        chosen.tried = {}
        ngx_balancer.set_more_tries(math.min(#peers, MOST_TRIES) - 1)
    elseif chosen.peer then
        failed():set(chosen.peer, true, AVOIDED)
    end
    local peer = pick(peers, chosen.tried)
    chosen.tried[peer[3]], chosen.peer = true, peer[3]
    local ok, why = ngx_balancer.set_current_peer(peer[1], peer[2])
    if not ok then
        ngx.log(ngx.ERR, "aviary: ", peer[3], ": ", why)
        return ngx.exit(ngx.HTTP_BAD_GATEWAY)
    end
end

return M
