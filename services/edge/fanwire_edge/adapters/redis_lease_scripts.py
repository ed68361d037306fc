"""Scripts that Redis runs for leases, each on one key."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from redis.exceptions import ResponseError

from fanwire_edge.adapters.redis_wire import Command

__all__ = ["ATTEMPT", "LOADS", "RENEW", "TAKE", "call", "is_unknown_script"]

_NOW = """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
"""

# Arguments: limit, milliseconds of a lease, name, and the name to replace or nothing.
TAKE = f"""{_NOW}
local key, lease = KEYS[1], tonumber(ARGV[2])
redis.call('ZREMRANGEBYSCORE', key, -now, now)
local score = ARGV[4] ~= '' and redis.call('ZSCORE', key, ARGV[4])
if score and tonumber(score) > 0 then
    redis.call('ZADD', key, -(now + 4 * lease), ARGV[4])
elseif redis.call('ZCOUNT', key, 0, '+inf') >= tonumber(ARGV[1]) then
    local first = redis.call('ZRANGEBYSCORE', key, 0, '+inf', 'WITHSCORES', 'LIMIT', 0, 1)
    return math.max(1, tonumber(first[2]) - now)
end
redis.call('ZADD', key, now + lease, ARGV[3])
redis.call('PEXPIRE', key, 5 * lease)
return 0
"""

# Arguments: milliseconds of a lease, names. Returns those that were taken over.
RENEW = f"""{_NOW}
local key, lease, lost = KEYS[1], tonumber(ARGV[1]), {{}}
for i = 2, #ARGV do
    local score = redis.call('ZSCORE', key, ARGV[i])
    if score and tonumber(score) < 0 then
        lost[#lost + 1] = ARGV[i]
    else
        redis.call('ZADD', key, now + lease, ARGV[i])
    end
end
redis.call('PEXPIRE', key, 5 * lease)
return lost
"""

# Arguments: limit, milliseconds of the window.
ATTEMPT = """
local number = redis.call('INCR', KEYS[1])
if number == 1 then
    redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return number > tonumber(ARGV[1]) and math.max(1, redis.call('PTTL', KEYS[1])) or 0
"""

_SCRIPTS = (TAKE, RENEW, ATTEMPT)
LOADS: Sequence[Command] = [("SCRIPT", "LOAD", script) for script in _SCRIPTS]
_NAMES = {script: hashlib.sha1(script.encode()).hexdigest() for script in _SCRIPTS}


def call(script: str, key: str, *arguments: str | int) -> Command:
    """Return the command that runs *script* on one key."""
    return ("EVALSHA", _NAMES[script], "1", key, *map(str, arguments))


def is_unknown_script(reply: Any) -> bool:
    """Tell whether Redis does not know the script (any more), and has run nothing."""
    return isinstance(reply, ResponseError) and str(reply).startswith("NOSCRIPT")
