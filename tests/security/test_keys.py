"""API keys: what time, files and guesses tell of them. The keys' half of S40."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from pathlib import Path

import pytest

from fanwire_edge.adapters.api_keys import ApiKeyFile, ApiKeyVerifier
from fanwire_edge.core.api_key import ApiKey, read_api_key
from fanwire_edge.core.principal import InvalidToken
from tests.kit.canaries import CANARIES

KEY = CANARIES.remember("fw_canary-key-0123456789abcdef")
DIGEST = hashlib.sha256(KEY.encode()).digest()
RECORD = {"id": "ci-1", "sha256": DIGEST.hex(), "user": "u-1", "tenant": "acme"}


class Careless:
    """A table that finds the same key whatever it is asked for."""

    async def find(self, digest: bytes) -> ApiKey | None:
        return read_api_key(RECORD, None)


class Recorder:
    """Compares as `hmac.compare_digest` does, and notes what."""

    def __init__(self, compare: Callable[[bytes, bytes], bool]) -> None:
        self._compare = compare
        self.compared: list[tuple[bytes, bytes]] = []

    def __call__(self, one: bytes, other: bytes) -> bool:
        self.compared.append((one, other))
        return self._compare(one, other)


@pytest.mark.parametrize("key", [KEY, KEY[:-1] + "0", "0" + KEY[1:], "x" * 512], ids=len)
async def test_s40_keys_are_compared_by_their_hashes_in_constant_time(
    key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is shown, one comparison of 32 bytes with 32 bytes decides, which stops at no difference."""
    recorder = Recorder(hmac.compare_digest)
    monkeypatch.setattr("hmac.compare_digest", recorder)
    verifier = ApiKeyVerifier(Careless(), lambda: 0.0)

    if key == KEY:
        assert (await verifier.verify(key)).user == "u-1"
    else:
        with pytest.raises(InvalidToken, match="not known"):
            await verifier.verify(key)
    assert recorder.compared == [(DIGEST, hashlib.sha256(key.encode()).digest())]


async def test_s40_who_reads_the_file_of_keys_cannot_use_it(tmp_path: Path) -> None:
    """What stands in it is no key, in no spelling."""
    path = tmp_path / "keys.toml"
    path.write_text(f'[[key]]\nid = "ci-1"\nsha256 = "{DIGEST.hex()}"\nuser = "u-1"\ntenant = "acme"\n')
    verifier = ApiKeyVerifier(ApiKeyFile(str(path), None, lambda: 0.0), lambda: 0.0)

    assert (await verifier.verify(KEY)).user == "u-1"
    for shown in (DIGEST.hex(), DIGEST.hex().upper(), "ci-1-ci-1-ci-1-ci-1-ci-1"):
        with pytest.raises(InvalidToken, match="not known"):
            await verifier.verify(shown)
