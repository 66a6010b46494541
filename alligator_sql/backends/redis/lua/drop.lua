-- Remove up to ARGV[1] waiting tasks without a trace, and return how many it were.
local limit = tonumber(ARGV[1])
local dropped = 0
for _, waiting in ipairs({ READY, DELAYED }) do
    local popped = redis.call('ZPOPMIN', waiting, limit - dropped)
    for at = 1, #popped, 2 do
        forget(popped[at])
        dropped = dropped + 1
    end
end
return dropped
