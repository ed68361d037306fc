"""Sessions that core services keep in Redis: a key for each, whose life is the session's.

Its value is a JSON object, read by the names of `auth.claims`.
"""

from __future__ import annotations

from collections.abc import Callable

from fanwire_edge.adapters.redis_lookup import RedisLookup
from fanwire_edge.core.claims import ClaimReader, ClaimRules, MalformedClaims
from fanwire_edge.core.opaque import session_id
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from fanwire_protocol.codec import InvalidData, decode_json

__all__ = ["RedisSessions"]

ID = "{id}"


class RedisSessions:
    """The port `Verifier` over sessions, whose keys are *template* with the id for `{id}`."""

    def __init__(
        self, lookup: RedisLookup, template: str, rules: ClaimRules, clock: Callable[[], float]
    ) -> None:
        self._lookup = lookup
        self._template = template
        self._reader = ClaimReader(rules)
        self._clock = clock

    async def verify(self, token: str) -> Principal:
        """Return whose session *token* is; raises InvalidToken, and VerifierUnavailable."""
        found = await self._lookup.value(self._template.replace(ID, session_id(token)))
        if found is None:
            raise InvalidToken("there is no such session")
        data, left = found
        now = self._clock()
        try:
            fields = decode_json(data)
            if not isinstance(fields, dict):
                raise VerifierUnavailable("the session in Redis is no JSON object")
            if left is not None:
                # An end that the session itself tells counts where it comes earlier.
                fields["exp"] = _earlier(fields.get("exp"), now + left)
            return self._reader.read(fields, now)
        except (InvalidData, MalformedClaims) as problem:
            raise VerifierUnavailable(f"the session in Redis is of no use: {problem}") from None


def _earlier(said: object, ends_at: float) -> object:
    if isinstance(said, bool) or not isinstance(said, int | float):
        # What is no date at all is the reader's to refuse.
        return ends_at if said is None else said
    return min(said, ends_at)
