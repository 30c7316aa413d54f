-- Files that survive a crash: written beside, synced, renamed. Blocks; called under a lock.
local ffi = require "ffi"
local bit = require "bit"

ffi.cdef [[
int open(const char *path, int flags, ...);
int close(int fd);
int flock(int fd, int operation);
int fsync(int fd);
int rename(const char *old, const char *new);
int unlink(const char *path);
long read(int fd, void *buffer, unsigned long count);
long write(int fd, const void *buffer, unsigned long count);
char *strerror(int number);
int poll(void *none, unsigned long count, int milliseconds);
]]

local C = ffi.C
local O_RDONLY, O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC = 0, 1, 64, 512, 524288
local LOCK_EX_NB = 6
local ENOENT, EINTR, EAGAIN = 2, 4, 11
local MOST = 16 * 1024 * 1024
local MODE = 420 -- 0644

local M = {}

local function failed(path)
    return nil, path .. ": " .. ffi.string(C.strerror(ffi.errno()))
end

-- Wait where nothing can be done meanwhile.
function M.sleep(seconds)
    C.poll(nil, 0, seconds * 1000)
end

-- Be the only one of all workers and masters that writes in a folder. The kernel frees the lock
-- when its holder dies. `wait` is called between two tries, and says whether to go on.
function M.locked(folder, wait, work)
    local handle = C.open(folder, bit.bor(O_RDONLY, O_CLOEXEC))
    if handle < 0 then
        return failed(folder)
    end
    while C.flock(handle, LOCK_EX_NB) ~= 0 do
        local number = ffi.errno()
        if number ~= EAGAIN and number ~= EINTR then
            local _, why = failed(folder)
            C.close(handle)
            return nil, why
        end
        if not wait() then
            C.close(handle)
            return nil, folder .. ": another writer has held the lock for too long"
        end
    end
    local ok, one, two, three = pcall(work)
    C.close(handle)
    if not ok then
        error(one, 0)
    end
    return one, two, three
end

-- The content of a file; "" where there is none.
function M.read(path)
    local handle = C.open(path, bit.bor(O_RDONLY, O_CLOEXEC))
    if handle < 0 then
        if ffi.errno() == ENOENT then
            return ""
        end
        return failed(path)
    end
    local size, parts, total = 65536, {}, 0
    local buffer = ffi.new("char[?]", size)
    while true do
        local got = tonumber(C.read(handle, buffer, size))
        if got < 0 and ffi.errno() ~= EINTR then
            local _, why = failed(path)
            C.close(handle)
            return nil, why
        elseif got == 0 then
            break
        elseif got > 0 then
            total = total + got
            parts[#parts + 1] = ffi.string(buffer, got)
            if total > MOST then
                C.close(handle)
                return nil, path .. ": expected at most " .. MOST .. " bytes"
            end
        end
    end
    C.close(handle)
    return table.concat(parts)
end

local function put(handle, content)
    local done = 0
    local bytes = ffi.cast("const char *", content)
    while done < #content do
        local wrote = tonumber(C.write(handle, bytes + done, #content - done))
        if wrote < 0 and ffi.errno() ~= EINTR then
            return false
        elseif wrote > 0 then
            done = done + wrote
        end
    end
    return C.fsync(handle) == 0
end

-- Replace a file of a folder, so that a reader sees the old or the new one, and so does a machine
-- that lost its power. Its temporary name is always the same: what a crash left is written over.
function M.replace(folder, name, content)
    local path, fresh = folder .. "/" .. name, folder .. "/." .. name .. ".new"
    local flags = bit.bor(O_WRONLY, O_CREAT, O_TRUNC, O_CLOEXEC)
    local handle = C.open(fresh, flags, ffi.new("int", MODE))
    if handle < 0 then
        return failed(fresh)
    end
    if not put(handle, content) then
        local _, why = failed(path)
        C.close(handle)
        C.unlink(fresh)
        return nil, why
    end
    C.close(handle)
    if C.rename(fresh, path) ~= 0 then
        local _, why = failed(path)
        C.unlink(fresh)
        return nil, why
    end
    local above = C.open(folder, bit.bor(O_RDONLY, O_CLOEXEC))
    if above >= 0 then
        C.fsync(above)
        C.close(above)
    end
    return true
end

return M
