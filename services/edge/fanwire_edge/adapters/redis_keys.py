"""API keys in Redis: the hash `{prefix}:_keys`, from the SHA-256 in hexadecimal digits to a msgpack map."""

from __future__ import annotations

from fanwire_edge.adapters.redis_lookup import RedisLookup
from fanwire_edge.core.api_key import ApiKey, InvalidApiKey, read_api_key
from fanwire_edge.ports import VerifierUnavailable
from fanwire_protocol.codec import InvalidData, decode_msgpack
from fanwire_protocol.keys import api_keys_key

__all__ = ["RedisApiKeys"]


class RedisApiKeys:
    """The keys under *prefix*; a record that cannot be meant lets nobody in, and says why."""

    def __init__(self, lookup: RedisLookup, prefix: str, default_tenant: str | None) -> None:
        self._lookup = lookup
        self._key = api_keys_key(prefix)
        self._default_tenant = default_tenant

    async def find(self, digest: bytes) -> ApiKey | None:
        """Return the key with this SHA-256, if there is one; raises VerifierUnavailable."""
        name = digest.hex()
        data = await self._lookup.field(self._key, name)
        if data is None:
            return None
        try:
            record = decode_msgpack(data)
            # The field's name says it already.
            named = {"sha256": name, **record} if isinstance(record, dict) else record
            return read_api_key(named, self._default_tenant)
        except (InvalidData, InvalidApiKey) as problem:
            # The beginning of a hash tells operators which record it is, and nobody else anything.
            raise VerifierUnavailable(
                f"the API key under {name[:8]}… of {self._key} cannot be read: {problem}"
            ) from None
