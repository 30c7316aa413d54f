-- Routes and pools: in files, one JSON document a line, and copied to a shared dictionary that
-- every request reads. The files are the truth. They are written first, and whoever comes up copies
-- them: so a generation survives a reload, a restart and a worker that dies between the two.
local documents = require "aviary.documents"
local files = require "aviary.files"

local KINDS = {
    route = {
        file = "routes.jsonl",
        parse = documents.route,
        key = function(route) return route.service end,
    },
    pool = {
        file = "pools.jsonl",
        parse = documents.pool,
        key = function(pool) return pool.service .. " " .. pool.version end,
        is_gone = function(pool) return #pool.endpoints == 0 end,
    },
}
local MOST_GONE = 1000 -- versions that were forgotten and are still fenced
local LOCK_TRIES = 500
local LOCK_PAUSE = 0.002
local LONGEST = 65536

local M = {}
local folder
local parsed = {route = {}, pool = {}} -- of this worker, by key: text and document

local function dict()
    return ngx.shared.aviary_state
end

local function waiting()
    local tries, may_yield = 0, ngx.get_phase() == "content"
    return function()
        tries = tries + 1
        if may_yield then
            ngx.sleep(LOCK_PAUSE)
        else
            files.sleep(LOCK_PAUSE)
        end
        return tries < LOCK_TRIES
    end
end

local function is_gone(kind, document)
    local check = KINDS[kind].is_gone
    return check ~= nil and check(document)
end

-- The lines of a kind's file, by key; and the documents of those that are gone.
local function read(kind)
    local what = KINDS[kind]
    local path = folder .. "/" .. what.file
    local content, why = files.read(path)
    if not content then
        return nil, why
    end
    local lines, gone, number = {}, {}, 0
    for line in content:gmatch("[^\n]+") do
        number = number + 1
        local document
        document, why = what.parse(line)
        if not document then
            return nil, path .. ": line " .. number .. ": " .. why
        end
        lines[what.key(document)] = line
        gone[what.key(document)] = is_gone(kind, document) and document or nil
    end
    return lines, gone
end

-- Keep those that are gone to so many: the ones of the smallest generations are forgotten for good.
local function prune(lines, gone)
    local keys = {}
    for key in pairs(gone) do
        keys[#keys + 1] = key
    end
    table.sort(keys, function(one, other) return gone[one].generation > gone[other].generation end)
    for number = MOST_GONE + 1, #keys do
        lines[keys[number]] = nil
    end
end

local function write(kind, lines)
    local keys, ordered = {}, {}
    for key in pairs(lines) do
        keys[#keys + 1] = key
    end
    table.sort(keys)
    for number, key in ipairs(keys) do
        ordered[number] = lines[key]
    end
    ordered[#ordered + 1] = ""
    return files.replace(folder, KINDS[kind].file, table.concat(ordered, "\n"))
end

local function copy(kind, lines, gone)
    local prefix = kind .. " "
    for _, key in ipairs(dict():get_keys(0)) do
        local name = key:sub(#prefix + 1)
        if key:sub(1, #prefix) == prefix and (not lines[name] or gone[name]) then
            dict():delete(key)
        end
    end
    for key, line in pairs(lines) do
        if not gone[key] then
            local ok, why = dict():safe_set(prefix .. key, line)
            if not ok then
                return nil, "lua_shared_dict aviary_state: " .. why
            end
        end
    end
    return true
end

-- Make the dictionary what the files say.
function M.load()
    local ok, why = files.locked(folder, waiting(), function()
        for kind in pairs(KINDS) do
            local lines, gone = read(kind)
            if not lines then
                return nil, gone -- why
            end
            local done, why = copy(kind, lines, gone)
            if not done then
                return nil, why
            end
        end
        return true
    end)
    if not ok then
        error("aviary: " .. why, 0)
    end
end

function M.setup(where)
    folder = where
    M.load()
end

-- The document of a key as it is served; nil where there is none.
function M.get(kind, key)
    local text = dict():get(kind .. " " .. key)
    local mine = parsed[kind]
    if not text then
        mine[key] = nil
        return nil
    end
    local known = mine[key]
    if not known or known.text ~= text then
        known = {text = text, document = assert(KINDS[kind].parse(text))}
        mine[key] = known
    end
    return known.document, text
end

-- The keys of a kind.
function M.keys(kind)
    local found, prefix = {}, kind .. " "
    for _, key in ipairs(dict():get_keys(0)) do
        if key:sub(1, #prefix) == prefix then
            found[#found + 1] = key:sub(#prefix + 1)
        end
    end
    table.sort(found)
    return found
end

-- The line of a key in its file; nil where there is none.
function M.stored(kind, key)
    local lines, why = read(kind)
    if not lines then
        return nil, why
    end
    return lines[key]
end

-- Take one document from the dictionary, or put it there.
local function serve(kind, key, text)
    if not text then
        dict():delete(kind .. " " .. key)
        return true
    end
    local ok, why = dict():safe_set(kind .. " " .. key, text)
    if not ok then
        return nil, 507, "lua_shared_dict aviary_state: " .. why
    end
    return true
end

local function changed(kind, key, make)
    local lines, gone = read(kind)
    if not lines then
        return nil, 503, gone -- why
    end
    local text, status, why = make(lines[key])
    if not text then
        return nil, status, why
    end
    if #text > LONGEST or text:find("\n", 1, true) then
        return nil, 422, "document: expected one line of at most " .. LONGEST .. " characters"
    end
    local document = assert(KINDS[kind].parse(text))
    local served = not is_gone(kind, document) and text or nil
    -- Room for it is taken before the file says that it is there.
    local ok
    ok, status, why = serve("room", "", served)
    if not ok then
        return nil, status, why
    end
    serve("room", "", nil)
    if lines[key] ~= text then
        lines[key], gone[key] = text, not served and document or nil
        prune(lines, gone)
        ok, why = write(kind, lines)
        if not ok then
            return nil, 503, why
        end
    end
    return serve(kind, key, served)
end

-- Write one document, durably and then in the dictionary. `make` is given the text that is stored
-- now, and returns the one that shall be; or nil, a status and a text.
function M.change(kind, key, make)
    local done, status, why = files.locked(folder, waiting(), function()
        return changed(kind, key, make)
    end)
    if not done and type(status) ~= "number" then
        return nil, 503, status
    end
    return done, status, why
end

return M
