-- The GCRA of agent/src/decision/quota.rs for all windows of a request in one step.
-- KEYS: buckets. ARGV, four for each: what must be free, what is charged, what may be owed (in µs), and
-- the number of its group with a `!` before it if the group is enforced. Returns two for each: what is
-- owed, and how long until there is enough; in µs, rounded up.
local time = redis.call('TIME')
-- Since 2025: then fractions of a microsecond are left in a double.
local now = (time[1] - 1735689600) * 1000000 + time[2]
local owed, wait, before, refused, veto = {}, {}, {}, {}, false
for i, key in ipairs(KEYS) do
  local at = 4 * i - 3
  local need, cost, depth, group = tonumber(ARGV[at]), tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), ARGV[at + 3]
  local till = tonumber(redis.call('GET', key) or '0') or 0
  owed[i] = math.max(till - now, 0)
  wait[i] = math.max(owed[i] + (before[key] or 0) + need - depth, 0)
  if wait[i] < 0.01 then wait[i] = 0 end
  before[key] = (before[key] or 0) + cost
  if wait[i] > 0 then
    refused[group] = true
    if string.sub(group, 1, 1) == '!' then veto = true end
  end
end
local charged = {}
for i, key in ipairs(KEYS) do
  local cost, group = tonumber(ARGV[4 * i - 2]), ARGV[4 * i]
  if not veto and not refused[group] then
    charged[key] = (charged[key] or 0) + cost
    owed[i] = owed[i] + charged[key]
    if cost > 0 then
      redis.call('SET', key, string.format('%.17g', now + owed[i]), 'PX', math.ceil(owed[i] / 1000) + 1)
    end
  end
end
local answer = {}
for i = 1, #KEYS do
  answer[2 * i - 1] = math.ceil(owed[i])
  answer[2 * i] = math.ceil(wait[i])
end
return answer
