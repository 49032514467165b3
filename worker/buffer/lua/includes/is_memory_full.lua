-- Return whether producers are to be refused, before Redis refuses every client, the broker on it
-- included: what is left is for its messages, the dead letters and the copies that a claim makes.
-- needs: memory_used
local function is_memory_full()
  return memory_used() > 0.9
end
