-- The server's side of the store: see the package comment for the records.
--
-- Every function answers with a list whose first element says how it went.
-- Nothing here raises an error after the first write: what is already done is
-- not taken back by Redis.

-- The call records of lanes that were not used for so long are dropped.
local call_ttl = 86400

-- A group with more fields is not put into an answer: pageParts.
local large = 4096

-- enter checks that this is the store that the caller knows, with all that was
-- ever acknowledged to it. It returns the sequence and the lane's last call, or
-- nil and the answer.
local function enter(meta, epoch, lane, floor)
  local m = redis.call('HMGET', meta, 'epoch', 'seq', 'lost', 'call:' .. lane)
  if m[1] ~= epoch then
    return nil, {'wiped', m[1] or ''}
  end
  local seq = tonumber(m[2])
  if not m[3] and seq < tonumber(floor) then
    -- Every user of the store must hear of it, not only the one that can tell.
    redis.call('HSET', meta, 'lost', floor)
    m[3] = floor
  end
  if m[3] then
    return nil, {'lost', m[3], m[2]}
  end
  return seq, m[4]
end

-- number of the call that a call record is about; 0 if there is none.
local function number(record)
  return record and tonumber(string.match(record, '^%d+')) or 0
end

local function leave(meta, seq, lane, n, results)
  local now = redis.call('TIME')
  redis.call('HSET', meta, 'seq', string.format('%.0f', seq),
    'call:' .. lane, n .. ' ' .. now[1] .. ' ' .. results)
  return now
end

-- version of a group: '0' if there is none, or nil and why it cannot be told:
-- something else is in its place.
local function version(known, key)
  local v = known[key]
  if v then
    return v
  end
  v = redis.pcall('HGET', key, 'v')
  if type(v) == 'table' then
    return nil, v.err
  elseif v == false and redis.call('EXISTS', key) == 0 then
    v = '0'
  elseif not v or not tonumber(v) then
    return nil, 'it has no version'
  end
  known[key] = v
  return v
end

-- decide says whether a batch may be done: nil, or what to answer, which is
-- 'fenced', {key, what is wrong with it}, or for each group whose check failed
-- {number, fields}, or {number, 'large'}.
local function decide(known, keys, base, b)
  if b[2] ~= 0 and version(known, keys[base + b[2]]) ~= b[3] then
    return 'fenced'
  end
  local failed
  for i, g in ipairs(b[4]) do
    local key = keys[base + i]
    local v, why = version(known, key)
    if not v then
      return {key, why}
    end
    if g[1] ~= '' and g[1] ~= v then
      failed = failed or {}
      failed[#failed + 1] = {i, redis.call('HLEN', key) <= large and redis.call('HGETALL', key) or 'large'}
    end
  end
  return failed
end

local function apply(known, keys, base, b, index, skip)
  for i, g in ipairs(b[4]) do
    local key = keys[base + i]
    local v = known[key]
    if g[2] == 'f' then
      if v ~= '0' then
        redis.call('UNLINK', key)
        redis.call('ZREM', index, string.sub(key, skip))
        known[key] = '0'
      end
    elseif g[2] == 'w' then
      local rises = string.format('%.0f', tonumber(v) + 1)
      known[key] = rises
      local puts = g[3]
      local first = puts[1]
      if first then
        first[#first + 1] = 'v'
        first[#first + 1] = rises
        for _, part in ipairs(puts) do
          redis.call('HSET', key, unpack(part))
        end
      else
        redis.call('HSET', key, 'v', rises)
      end
      for _, part in ipairs(g[4]) do
        redis.call('HDEL', key, unpack(part))
      end
      if v == '0' then
        redis.call('ZADD', index, 0, string.sub(key, skip))
      end
    end
  end
end

-- commit does any number of batches, each of them or nothing of it.
--
-- keys: meta, index, then the groups of each batch in turn
-- argv: epoch, lane, number of the call, floor, length of a group's key prefix,
--       then the batches
local function commit(keys, argv)
  local meta, index, lane, n = keys[1], keys[2], argv[2], argv[3]
  local seq, last = enter(meta, argv[1], lane, argv[4])
  if not seq then
    return last
  end
  if number(last) >= tonumber(n) then
    return {'late'}
  end
  local skip = tonumber(argv[5]) + 1
  local out, results, known, base = {'ok', 0, 0, 0}, {}, {}, 2
  for i = 6, #argv do
    local b = cmsgpack.unpack(argv[i])
    local refused = decide(known, keys, base, b)
    if refused then
      out[#out + 1] = refused
      results[#results + 1] = '0'
    else
      apply(known, keys, base, b, index, skip)
      out[#out + 1] = 1
      results[#results + 1] = '1'
    end
    base = base + b[1]
  end
  seq = seq + 1
  local now = leave(meta, seq, lane, n, table.concat(results))
  out[2], out[3], out[4] = seq, tonumber(now[1]), tonumber(now[2])
  return out
end

-- resolve tells what became of a call, and settles it: if it has not come
-- until now it will be refused when it does.
--
-- keys: meta    argv: epoch, lane, number of the call, floor
local function resolve(keys, argv)
  local meta, lane, n = keys[1], argv[2], argv[3]
  local seq, last = enter(meta, argv[1], lane, argv[4])
  if not seq then
    return last
  end
  local results = ''
  if number(last) == tonumber(n) then
    results = string.match(last, '^%d+ %d+ (.*)$')
  elseif number(last) > tonumber(n) then
    return {'late'}
  end
  seq = seq + 1
  leave(meta, seq, lane, n, results)
  return {'ok', seq, results}
end

-- open takes the store, or makes it if there is none.
--
-- keys: meta, index
-- argv: a new epoch, the epoch wanted or '', format, '1' to accept a loss
local function open(keys, argv)
  local meta = keys[1]
  local m = redis.call('HMGET', meta, 'epoch', 'format', 'lost', 'seq')
  if not m[1] then
    if argv[2] ~= '' then
      return {'wiped', ''}
    elseif redis.call('EXISTS', meta) == 1 or redis.call('EXISTS', keys[2]) == 1 then
      return {'damaged'}
    end
    redis.call('HSET', meta, 'format', argv[3], 'epoch', argv[1], 'seq', 0)
    return {'ok', argv[1], 1, 0}
  elseif m[2] ~= argv[3] then
    return {'format', m[2] or ''}
  end
  local epoch = m[1]
  if m[3] then
    if argv[4] ~= '1' then
      return {'lost', m[3], m[4]}
    end
    epoch = argv[1]
    redis.call('HDEL', meta, 'lost')
    redis.call('HSET', meta, 'epoch', epoch)
  elseif argv[2] ~= '' and argv[2] ~= epoch then
    return {'wiped', epoch}
  end
  local old = tonumber(redis.call('TIME')[1]) - call_ttl
  local all = redis.call('HGETALL', meta)
  for i = 1, #all, 2 do
    local at = string.match(all[i], '^call:') and tonumber(string.match(all[i + 1], '^%d+ (%d+)'))
    if at and at < old then
      redis.call('HDEL', meta, all[i])
    end
  end
  return {'ok', epoch, 0, tonumber(m[4])}
end

redis.register_function{function_name = 'NAME_commit', callback = commit}
-- The same while the server's memory is full: for what only releases.
redis.register_function{function_name = 'NAME_release', callback = commit, flags = {'allow-oom'}}
redis.register_function{function_name = 'NAME_resolve', callback = resolve, flags = {'allow-oom'}}
redis.register_function{function_name = 'NAME_open', callback = open, flags = {'allow-oom'}}
