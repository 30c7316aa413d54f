-- What nginx.conf calls; the parts are in the folder beside this file.
local balancer = require "aviary.balancer"
local control = require "aviary.control"
local counts = require "aviary.counts"
local pools = require "aviary.pools"
local split = require "aviary.split"
local state = require "aviary.state"

local M = {
    balance = balancer.balance,
    control = control.handle,
    header = split.header,
    log = counts.log,
    metrics = counts.metrics,
    route = split.route,
}

-- In init_by_lua, so at each start and each reload.
--   state: folder that the workers may write, and nobody else
--   upstreams: files with `# aviary: <service> <version>` above upstreams (optional)
--   token_file: what callers of the internal server must know (optional)
function M.setup(options)
    for name in pairs(options) do
        if name ~= "state" and name ~= "upstreams" and name ~= "token_file" then
            error("aviary: setup: unknown option " .. tostring(name)
                .. ", expected state, upstreams or token_file")
        end
    end
    if type(options.state) ~= "string" then
        error("aviary: setup: state: expected a folder")
    end
    control.setup(options.token_file)
    pools.setup(options.upstreams or {})
    state.setup(options.state)
end

-- In init_worker_by_lua: a worker that takes the place of one that died in mid-write finds in the
-- files what that one had written.
function M.worker()
    state.load()
end

return M
