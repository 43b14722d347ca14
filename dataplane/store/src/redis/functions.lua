#!lua name=throng_VERSION

-- The fenced writes and the ownership keys of Throng, as Redis Functions (Redis 7.0 or later).
--
-- VERSION is replaced with a hash of this text before it is loaded, in the library's name and in those of its functions:
-- two releases that share a Redis never fight over a name, and a rollback finds what it needs.
--
-- All keys of one call share a hash tag, so every function works in a cluster. Epochs and numbers are below 2^53 and so
-- exact as Lua numbers; they are stored as the texts they arrived as, never formatted from a number.

-- ---- logs
--
-- A room's log is one stream for each epoch and lane, named by the room's log prefix and '<epoch>:<lane>'; the id of an
-- entry is '<seq>-0'. The hash of ends holds, for each stream, the last number under '<epoch>:<lane>' and the weight of
-- what is kept under '<epoch>:<lane>:w'; beside them stands what spares most appends a look at the streams (open_room).

-- Share of an entry's weight beside its texts: Message::weight in throng-core counts the same.
local ENTRY_WEIGHT = 64

local function fields_of(entry)
  local fields = {}
  local flat = entry[2]
  for i = 1, #flat, 2 do
    fields[flat[i]] = flat[i + 1]
  end
  return fields
end

local function weight_of(fields)
  return #fields.f + #fields.k + #fields.d + ENTRY_WEIGHT
end

local function oldest_of(stream)
  local entry = redis.call('XRANGE', stream.key, '-', '+', 'COUNT', 1)[1]
  if not entry then
    return nil
  end
  local fields = fields_of(entry)
  return { id = entry[1], at = tonumber(fields.t), weight = weight_of(fields) }
end

local function drop(stream, oldest)
  redis.call('XDEL', stream.key, oldest.id)
  stream.weight = stream.weight - oldest.weight
end

-- A room that a call appends to, and what the call knows of it so far. What decides whether something is to be dropped is kept
-- beside the ends, so that most calls look at no stream: 'due', when the oldest message of any stream is too old at the
-- earliest, and 'lossless' and 'sampled', how much the streams of these lanes hold at most. A room without them is looked
-- through.
local function open_room(ends, log)
  local stored = redis.call('HMGET', ends, 'due', 'lossless', 'sampled')
  return {
    ends = ends,
    log = log,
    streams = {},
    newest = 0,
    due = tonumber(stored[1] or '0'),
    lossless = tonumber(stored[2] or '0'),
    sampled = tonumber(stored[3] or '0'),
  }
end

local function open_stream(room, name)
  local stored = redis.call('HMGET', room.ends, name, name .. ':w')
  local stream = {
    key = room.log .. name,
    last = stored[1],
    kept = tonumber(stored[2] or '0'),
    lanes = tonumber(string.match(name, '%d$')) < 2 and 'lossless' or 'sampled',
  }
  room.streams[name] = stream
  return stream
end

-- Writes what a call knows of a room's streams; it is read again if it is needed again.
local function put_down(room, fields)
  for name, stream in pairs(room.streams) do
    if stream.expires then
      table.insert(fields, name)
      table.insert(fields, stream.last)
      table.insert(fields, name .. ':w')
      table.insert(fields, string.format('%d', stream.kept))
      redis.call('PEXPIRE', stream.key, stream.expires)
    end
  end
  room.streams = {}
  if #fields > 0 then
    redis.call('HSET', room.ends, unpack(fields))
  end
end

-- Before another command looks at the ends of a room.
local function put_down_first(call, ends)
  if call.rooms[ends] then
    put_down(call.rooms[ends], {})
  end
end

-- Drops what is older than the newest message of the batch allows, then the oldest while there is too much.
local function trim(room, limits)
  local groups = {
    { lanes = 'lossless', cap = limits.lossless_bytes },
    { lanes = 'sampled', cap = limits.sampled_bytes },
  }
  local flat = redis.call('HGETALL', room.ends)
  for i = 1, #flat, 2 do
    local field, lane = string.match(flat[i], '^(%d+:(%d)):w$')
    local weight = tonumber(flat[i + 1])
    if field and weight > 0 then
      local lossless = tonumber(lane) < 2
      local keep = lossless and limits.lossless_keep or limits.sampled_keep
      local stream = { key = room.log .. field, field = flat[i], before = weight, weight = weight, keep = keep }
      local oldest = oldest_of(stream)
      while oldest and oldest.at < room.newest - keep do
        drop(stream, oldest)
        oldest = oldest_of(stream)
      end
      if not oldest then
        stream.weight = 0
      end
      stream.oldest = oldest
      table.insert(groups[lossless and 1 or 2], stream)
    end
  end
  room.due = nil
  for _, group in ipairs(groups) do
    local total = 0
    for _, stream in ipairs(group) do
      total = total + stream.weight
    end
    while total > group.cap do
      local first = nil
      for _, stream in ipairs(group) do
        if stream.oldest and (not first or stream.oldest.at < first.oldest.at) then
          first = stream
        end
      end
      if not first then
        break
      end
      total = total - first.oldest.weight
      drop(first, first.oldest)
      first.oldest = oldest_of(first)
    end
    for _, stream in ipairs(group) do
      if stream.weight ~= stream.before then
        redis.call('HSET', room.ends, stream.field, string.format('%d', stream.weight))
      end
      if stream.oldest then
        room.due = math.min(room.due or math.huge, stream.oldest.at + stream.keep)
      end
    end
    room[group.lanes] = total
  end
  room.due = room.due or 0
end

-- Ends the appends of a call to a room.
local function close_room(room, limits)
  if room.newest == 0 then
    return
  end
  if
    room.newest > room.due
    or room.lossless > limits.lossless_bytes
    or room.sampled > limits.sampled_bytes
  then
    put_down(room, {})
    trim(room, limits)
  end
  local fields = { 'due', string.format('%d', room.due) }
  for _, lanes in ipairs({ 'lossless', 'sampled' }) do
    table.insert(fields, lanes)
    table.insert(fields, string.format('%d', room[lanes]))
  end
  put_down(room, fields)
end

-- Forgets the streams and ends of epochs before one; of all if there is none.
local function forget_streams(ends, log, before)
  local kept = false
  for _, field in ipairs(redis.call('HKEYS', ends)) do
    local epoch = string.match(field, '^(%d+):')
    if epoch and (not before or tonumber(epoch) < before) then
      redis.call('UNLINK', log .. string.match(field, '^%d+:%d'))
      redis.call('HDEL', ends, field)
    elseif epoch then
      kept = true
    end
  end
  if not kept then
    redis.call('UNLINK', ends)
  end
end

-- ---- commands of a batch: keys (k) and arguments (a) as src/redis/command.rs lays them out

local commands = {}

-- k: rooms; a: room, meta
commands.put_room = { keys = 1, args = 2, run = function(_, k, a)
  redis.call('HSET', k[1], a[1], a[2])
end }

-- k: rooms, lists, sealed, ends, remembered, log prefix; a: room
commands.delete_room = { keys = 6, args = 1, run = function(call, k, a)
  call.rooms[k[4]] = nil
  forget_streams(k[4], k[6], nil)
  redis.call('HDEL', k[1], a[1])
  redis.call('UNLINK', k[2], k[3], k[4], k[5])
end }

-- k: rooms, lists; a: room, entry, until
commands.set_entry = { keys = 2, args = 3, run = function(_, k, a)
  redis.call('HSETNX', k[1], a[1], '')
  redis.call('HSET', k[2], a[2], a[3])
end }

-- k: lists; a: entry
commands.remove_entry = { keys = 1, args = 1, run = function(_, k, a)
  redis.call('HDEL', k[1], a[1])
end }

-- k: rooms, ends, log prefix; a: room, stream, seq, at, from, kind, data, keep
commands.append = { keys = 3, args = 8, run = function(call, k, a)
  local room = call.rooms[k[2]]
  if not room then
    redis.call('HSETNX', k[1], a[1], '')
    room = open_room(k[2], k[3])
    call.rooms[k[2]] = room
  end
  local stream = room.streams[a[2]] or open_stream(room, a[2])
  if stream.last and tonumber(stream.last) >= tonumber(a[3]) then
    return
  end
  local id, at, weight = a[3] .. '-0', tonumber(a[4]), #a[5] + #a[6] + #a[7] + ENTRY_WEIGHT
  if not redis.call('XADD', stream.key, 'NOMKSTREAM', id, 't', a[4], 'f', a[5], 'k', a[6], 'd', a[7]) then
    -- The stream is new, or vanished because nobody appended to it for so long.
    redis.call('XADD', stream.key, id, 't', a[4], 'f', a[5], 'k', a[6], 'd', a[7])
    stream.kept = 0
  end
  stream.last, stream.kept, stream.expires = a[3], stream.kept + weight, a[8]
  local keep = stream.lanes == 'lossless' and call.limits.lossless_keep or call.limits.sampled_keep
  room.newest, room.due = math.max(room.newest, at), math.min(room.due, at + keep)
  room[stream.lanes] = room[stream.lanes] + weight
end }

-- k: rooms, ends; a: room, stream, seq
commands['end'] = { keys = 2, args = 3, run = function(call, k, a)
  put_down_first(call, k[2])
  local last = redis.call('HGET', k[2], a[2])
  if not last or tonumber(last) < tonumber(a[3]) then
    redis.call('HSETNX', k[1], a[1], '')
    redis.call('HSET', k[2], a[2], a[3])
  end
end }

-- k: ends, log prefix; a: stream, seq
commands.delete_message = { keys = 2, args = 2, run = function(call, k, a)
  put_down_first(call, k[1])
  local id = a[2] .. '-0'
  local entry = redis.call('XRANGE', k[2] .. a[1], id, id)[1]
  if entry then
    redis.call('XDEL', k[2] .. a[1], id)
    redis.call('HINCRBY', k[1], a[1] .. ':w', string.format('%d', -weight_of(fields_of(entry))))
  end
end }

-- k: rooms, sealed; a: room, epoch, value
commands.seal = { keys = 2, args = 3, run = function(_, k, a)
  redis.call('HSETNX', k[1], a[1], '')
  redis.call('HSET', k[2], a[2], a[3])
end }

-- k: sealed, ends, log prefix; a: before
commands.forget = { keys = 3, args = 1, run = function(call, k, a)
  put_down_first(call, k[2])
  local before = tonumber(a[1])
  for _, epoch in ipairs(redis.call('HKEYS', k[1])) do
    if tonumber(epoch) < before then
      redis.call('HDEL', k[1], epoch)
    end
  end
  forget_streams(k[2], k[3], before)
end }

-- k: rooms, remembered; a: room, until, value, now, milliseconds from now to until, most kept
commands.remember = { keys = 2, args = 6, run = function(_, k, a)
  redis.call('HSETNX', k[1], a[1], '')
  redis.call('ZADD', k[2], a[2], a[3])
  redis.call('ZREMRANGEBYSCORE', k[2], '-inf', a[4])
  redis.call('ZREMRANGEBYRANK', k[2], 0, -1 - tonumber(a[6]))
  if redis.call('PTTL', k[2]) < tonumber(a[5]) then
    redis.call('PEXPIRE', k[2], a[5])
  end
end }

-- k: members; a: session, value
commands.set_member = { keys = 1, args = 2, run = function(_, k, a)
  redis.call('HSET', k[1], a[1], a[2])
end }

-- k: members; a: session
commands.remove_member = { keys = 1, args = 1, run = function(_, k, a)
  redis.call('HDEL', k[1], a[1])
end }

-- k: members; a: how long a late writer is still fenced off, in milliseconds
commands.clear_members = { keys = 1, args = 1, run = function(call, k, a)
  redis.call('UNLINK', k[1])
  call.fence_expires = a[1]
end }

-- ---- the batch
--
-- keys: the tag's fence, then all keys of the commands, each once
-- args: epoch, number of this call, lossless_keep, lossless_bytes, sampled_keep, sampled_bytes, then for each command its
--       name, the places of its keys in `keys`, its arguments
-- The fence of a tag is '<epoch> <number>'. Numbers grow with each call of a writer: a call that was given up, repeated
-- on another connection and then arrives after all is recognised and changes nothing.
-- returns {'OK', 1 if the tag had no fence} | {'STALE', epoch} | {'LATE'}
local function write(keys, args)
  local stored = redis.call('GET', keys[1])
  if stored then
    local epoch, number = string.match(stored, '^(%d+) (%d+)$')
    if tonumber(epoch) > tonumber(args[1]) then
      return { 'STALE', epoch }
    end
    if epoch == args[1] and tonumber(number) >= tonumber(args[2]) then
      return { 'LATE' }
    end
  end
  redis.call('SET', keys[1], args[1] .. ' ' .. args[2])
  local limits = {
    lossless_keep = tonumber(args[3]),
    lossless_bytes = tonumber(args[4]),
    sampled_keep = tonumber(args[5]),
    sampled_bytes = tonumber(args[6]),
  }
  local call = { rooms = {}, limits = limits }
  local at = 7
  while at <= #args do
    local command = commands[args[at]]
    local k, a = {}, {}
    for i = 1, command.keys do
      k[i] = keys[tonumber(args[at + i])]
    end
    at = at + command.keys
    for i = 1, command.args do
      a[i] = args[at + i]
    end
    at = at + command.args + 1
    command.run(call, k, a)
  end
  for _, room in pairs(call.rooms) do
    close_room(room, limits)
  end
  if call.fence_expires then
    redis.call('PEXPIRE', keys[1], call.fence_expires)
  end
  return { 'OK', stored and 0 or 1 }
end

redis.register_function('throng_VERSION_write', write)
-- The same for batches that only free memory, and for raising a fence: they must work when Redis is full.
redis.register_function { function_name = 'throng_VERSION_free', callback = write, flags = { 'allow-oom' } }

-- ---- ownership: all under one tag, so that fences, grace and marks are seen or lost together

-- keys: fences; args: slot, epoch, instance, expected holder or ''
-- returns {'MINE', epoch, instance of the fence before} | {'HELD', epoch, instance of the holder} | {'STALE', epoch}
local function raise_fence(keys, args)
  local stored = redis.call('HGET', keys[1], args[1])
  local epoch, holder = nil, nil
  if stored then
    epoch, holder = string.match(stored, '^(%d+) (.*)$')
    if tonumber(epoch) > tonumber(args[2]) then
      return { 'STALE', epoch }
    end
    if holder ~= args[3] and holder ~= args[4] then
      return { 'HELD', epoch, holder }
    end
  elseif args[4] ~= '' then
    return { 'HELD' }
  end
  redis.call('HSET', keys[1], args[1], args[2] .. ' ' .. args[3])
  return { 'MINE', epoch, holder }
end

-- keys: fences, grace, marks; args: instance, milliseconds of grace, then slot and epoch of each slot
-- returns {{slot, epoch of a later fence, ...}, {slot, epoch of a mark, ...}}
local function create_grace(keys, args)
  local stale = {}
  for i = 3, #args, 2 do
    local stored = redis.call('HGET', keys[1], args[i])
    local epoch = stored and string.match(stored, '^(%d+)')
    if epoch and tonumber(epoch) > tonumber(args[i + 1]) then
      table.insert(stale, args[i])
      table.insert(stale, epoch)
    else
      redis.call('HSET', keys[1], args[i], args[i + 1] .. ' ' .. args[1])
    end
  end
  redis.call('SET', keys[2], '1', 'PX', args[2])
  return { stale, redis.call('HGETALL', keys[3]) }
end

-- keys: grace, marks; args: milliseconds of grace
-- returns {0} if there is no grace | {1, {slot, epoch of a mark, ...}}
local function renew_grace(keys, args)
  if redis.call('PEXPIRE', keys[1], args[1]) == 0 then
    return { 0 }
  end
  return { 1, redis.call('HGETALL', keys[2]) }
end

-- keys: marks; args: slot, epoch
local function revoke(keys, args)
  local stored = redis.call('HGET', keys[1], args[1])
  if not stored or tonumber(stored) < tonumber(args[2]) then
    redis.call('HSET', keys[1], args[1], args[2])
  end
  return 'OK'
end

-- keys: incarnation; args: incarnation
-- returns the largest known
local function raise_incarnation(keys, args)
  local stored = redis.call('GET', keys[1])
  if stored and tonumber(stored) >= tonumber(args[1]) then
    return stored
  end
  redis.call('SET', keys[1], args[1])
  return args[1]
end

-- keys: birth mark
-- returns its age in milliseconds by the clock of this Redis; makes it if there is none
local function birth(keys)
  local time = redis.call('TIME')
  local now = string.format('%d', tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000))
  if redis.call('SETNX', keys[1], now) == 1 then
    return 0
  end
  return math.max(0, tonumber(now) - tonumber(redis.call('GET', keys[1])))
end

-- Ownership must work when Redis is full. (One by one: a library may not loop while it is loaded.)
local full = { 'allow-oom' }
redis.register_function { function_name = 'throng_VERSION_raise_fence', callback = raise_fence, flags = full }
redis.register_function { function_name = 'throng_VERSION_create_grace', callback = create_grace, flags = full }
redis.register_function { function_name = 'throng_VERSION_renew_grace', callback = renew_grace, flags = full }
redis.register_function { function_name = 'throng_VERSION_revoke', callback = revoke, flags = full }
redis.register_function { function_name = 'throng_VERSION_raise_incarnation', callback = raise_incarnation, flags = full }
redis.register_function { function_name = 'throng_VERSION_birth', callback = birth, flags = full }
