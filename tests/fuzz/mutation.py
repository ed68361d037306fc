"""Broken inputs: what is right, with something wrong in it. Deterministic for a seed."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

__all__ = ["mutated"]

INTERESTING = (0x00, 0x01, 0x7D, 0x7E, 0x7F, 0x80, 0xFE, 0xFF)


def mutated(random: Random, seeds: Sequence[bytes], words: Sequence[bytes]) -> bytes:
    """Return one of *seeds* with one to four changes."""
    data = bytearray(random.choice(seeds))
    for _ in range(random.randint(1, 4)):
        at = random.randint(0, len(data))
        end = min(len(data), at + random.randint(1, 8))
        match random.randrange(7):
            case 0 if data:
                data[at - 1] ^= 1 << random.randrange(8)
            case 1 if data:
                data[at - 1] = random.choice(INTERESTING)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = random.choice(words)
            case 4:
                data[at:at] = random.randbytes(random.randint(1, 6))
            case 5:
                data[at:at] = data[at:end] * random.randint(1, 200)
            case _:
                data[at:] = random.choice(seeds)[at:]
    return bytes(data[:20_000])
