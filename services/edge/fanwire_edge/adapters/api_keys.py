"""API keys, by their SHA-256, and the file that they may stand in (PROTOCOL §2).

The file is looked at again when it is a second old and somebody shows a key, in a thread. One that cannot be
read any more, or has a mistake in it, changes nothing but the log: the keys of before go on being valid.
"""

from __future__ import annotations

import asyncio
import hmac
import logging
import os
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from fanwire_edge.core.api_key import ApiKey, InvalidApiKey, api_keys, digest_of
from fanwire_edge.core.principal import InvalidToken, Principal
from fanwire_edge.ports import VerifierUnavailable
from fanwire_protocol.settings import SettingError

__all__ = ["ApiKeyFile", "ApiKeyVerifier", "KeyTable"]

CHECK_SECONDS = 1.0
READ_SECONDS = 2.0
MAX_FILE_BYTES = 16 * 1024 * 1024

logger = logging.getLogger("fanwire.keys")


class KeyTable(Protocol):
    """Where keys are written down."""

    async def find(self, digest: bytes) -> ApiKey | None:
        """Return the key with this SHA-256, if there is one; raises VerifierUnavailable."""


class ApiKeyVerifier:
    """The port `Verifier` over *table*; *clock* is in seconds since the epoch."""

    def __init__(self, table: KeyTable, clock: Callable[[], float]) -> None:
        self._table = table
        self._clock = clock

    async def verify(self, token: str) -> Principal:
        """Return the owner of the key *token*; raises InvalidToken, and VerifierUnavailable."""
        digest = digest_of(token)
        if digest is None:
            raise InvalidToken("the API key is not 20 to 512 printable characters without blanks")
        found = await self._table.find(digest)
        # However the table found it, only this comparison decides, and it takes the same time for all.
        if found is None or not hmac.compare_digest(found.digest, digest):
            raise InvalidToken("the API key is not known")
        expires_at = found.principal.expires_at
        if expires_at is not None and expires_at <= self._clock():
            raise InvalidToken("the API key has expired")
        return found.principal


@dataclass(frozen=True, slots=True)
class _Reading:
    """What stood in the file, and by what it is known whether it still does."""

    mark: tuple[int, int, int]
    keys: Mapping[bytes, ApiKey] = field(repr=False)


class ApiKeyFile:
    """The keys in the TOML file at *path*; *clock* is monotonic. Raises SettingError for a wrong file."""

    def __init__(self, path: str, default_tenant: str | None, clock: Callable[[], float]) -> None:
        self._path = Path(path)
        self._default_tenant = default_tenant
        self._clock = clock
        self._reading = self._read()
        self._wrong: str | None = None
        self._checked_at = clock()
        self._check: asyncio.Future[None] | None = None

    async def find(self, digest: bytes) -> ApiKey | None:
        """Return the key with this SHA-256 as the file had it a second ago; raises VerifierUnavailable."""
        if self._clock() >= self._checked_at + CHECK_SECONDS:
            await self._checked()
        return self._reading.keys.get(digest)

    async def _checked(self) -> None:
        """Wait until the file was looked at, which all who come meanwhile do together."""
        if self._check is None or self._check.done():
            self._check = asyncio.get_running_loop().run_in_executor(None, self._look, self._clock())
        try:
            async with asyncio.timeout(READ_SECONDS):
                await asyncio.shield(self._check)
        except TimeoutError:
            raise VerifierUnavailable("the file of API keys cannot be read now") from None

    def _look(self, now: float) -> None:
        """Read the file where it is another one (in a thread; the new keys come with one assignment)."""
        try:
            if _mark(os.stat(self._path)) != self._reading.mark:
                self._reading = self._read()
                logger.info("api_keys_read", extra={"keys": len(self._reading.keys)})
            self._wrong = None
        except OSError as problem:
            self._keep(f"auth.api_key.file: cannot read {self._path}: {problem.strerror}")
        except SettingError as problem:
            self._keep(str(problem))
        self._checked_at = now

    def _keep(self, reason: str) -> None:
        if reason != self._wrong:
            self._wrong = reason
            logger.error("api_keys_kept", extra={"reason": reason})

    def _read(self) -> _Reading:
        where = f"auth.api_key.file: {self._path}"
        try:
            with self._path.open("rb") as file:
                mark = _mark(os.fstat(file.fileno()))
                data = file.read(MAX_FILE_BYTES + 1)
        except OSError as problem:
            raise SettingError(
                f"auth.api_key.file: cannot read {self._path}: {problem.strerror}; "
                "give a file that this process may read"
            ) from None
        if len(data) > MAX_FILE_BYTES:
            raise SettingError(f"{where} has more than {MAX_FILE_BYTES} bytes; keep keys in Redis instead")
        try:
            document = tomllib.loads(data.decode())
        except (ValueError, RecursionError) as problem:
            raise SettingError(f"{where} is no TOML file: {problem}") from None
        records = document.pop("key", [])
        if document or not isinstance(records, list):
            raise SettingError(f"{where} holds something else than [[key]] tables; each begins with [[key]]")
        try:
            return _Reading(mark, api_keys(records, self._default_tenant))
        except InvalidApiKey as problem:
            raise SettingError(f"{where}: {problem}") from None


def _mark(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_mtime_ns, status.st_size, status.st_ino
