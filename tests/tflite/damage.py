"""Damages files at random."""

from __future__ import annotations

import random


def damaged(content: bytes, others: list[bytes], rng: random.Random) -> bytes:
    """A file with bytes changed, lengths or offsets overwritten, and parts cut out, inserted or taken from others."""
    changed = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 20))):
        # Half of the changes go to the tables, which are a small part of the file.
        place = rng.randrange(min(len(changed), 3000) if rng.random() < 0.5 else len(changed))
        match rng.randrange(6):
            case 0:
                changed[place] ^= 1 << rng.randrange(8)
            case 1:
                changed[place] = rng.randrange(256)
            case 2:
                word = rng.choice((0, 1, 2**31 - 1, 2**31, 2**32 - 1, len(changed), rng.randrange(2**32)))
                changed[place & ~3 : (place & ~3) + 4] = word.to_bytes(4, "little")
            case 3:
                del changed[place : place + rng.choice((1, 4, 64, len(changed)))]
            case 4:
                other = rng.choice(others)
                start, length = rng.randrange(len(other)), rng.choice((4, 16, 256, 4096))
                changed[place : place + length] = other[start : start + length]
            case 5:
                changed[place:place] = bytes(rng.randrange(256) for _ in range(rng.choice((1, 4, 16))))
        changed = changed or bytearray(b"x")
    return bytes(changed)
