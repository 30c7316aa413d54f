-- Networks such as 10.1.0.0/16 and 2001:db8::/32, and whether an address is in one.
local M = {}

-- The bytes of an address of IPv4; nil for other text.
local function four(text)
    local parts = {text:match("^(%d+)%.(%d+)%.(%d+)%.(%d+)$")}
    for number = 1, 4 do
        parts[number] = tonumber(parts[number])
        if not parts[number] or parts[number] > 255 then
            return nil
        end
    end
    return parts
end

-- Appends the bytes of groups between colons; nil where one is none.
local function add_groups(bytes, text)
    for group in text:gmatch("[^:]+") do
        local value = #group <= 4 and tonumber(group, 16)
        if not value then
            return nil
        end
        bytes[#bytes + 1] = math.floor(value / 256)
        bytes[#bytes + 1] = value % 256
    end
    return bytes
end

-- Likewise of IPv6, with at most one "::".
local function sixteen(text)
    local odd = text:find(":::") or text:find("^:[^:]") or text:find("[^:]:$")
    if odd or not text:find("^[%x:]+$") then
        return nil
    end
    local first, last = text:match("^(.-)::(.*)$")
    local bytes, after = add_groups({}, first or text), add_groups({}, last or "")
    if not bytes or not after or (last and last:find("::", 1, true)) then
        return nil
    end
    if first then
        for _ = 1, 16 - #bytes - #after do
            bytes[#bytes + 1] = 0
        end
    end
    for _, byte in ipairs(after) do
        bytes[#bytes + 1] = byte
    end
    return #bytes == 16 and bytes or nil
end

-- The bytes of a network and how many bits of them count; nil for other text.
function M.parsed(text)
    local address, length = text:match("^([^/]+)/(%d+)$")
    if not address then
        return nil
    end
    local bytes, bits = four(address) or sixteen(address), tonumber(length)
    if not bytes or bits > #bytes * 8 then
        return nil
    end
    return {bytes = bytes, bits = bits}
end

local MAPPED = ("\0"):rep(10) .. "\255\255"

-- Whether an address, as bytes, is in a network. One of IPv4 that is written as IPv6 is IPv4.
function M.has(network, address)
    if #address == 16 and address:sub(1, 12) == MAPPED then
        address = address:sub(13)
    end
    if #address ~= #network.bytes then
        return false
    end
    local left = network.bits
    for number, byte in ipairs(network.bytes) do
        if left <= 0 then
            return true
        end
        local step = 2 ^ math.max(0, 8 - left) -- addresses that differ in the last bits alone
        if math.floor(address:byte(number) / step) ~= math.floor(byte / step) then
            return false
        end
        left = left - 8
    end
    return true
end

return M
