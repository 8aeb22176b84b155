"""Repeatable randomness: numbers that depend on their arguments alone.

The standard library's generators carry state, so the n-th run would depend on how many were asked for before
it. Hashing (pipeline, run, purpose) instead gives each run its own numbers, in any order and in any process.
"""

import hashlib
import math
from functools import lru_cache

_MASK = (1 << 64) - 1


@lru_cache(maxsize=1024)
def seed_of(text: str) -> int:
    """Give a 64-bit seed for a text, the same in every process (unlike the built-in hash)."""
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def mix(seed: int, *parts: int) -> int:
    """Give 64 well-mixed bits for a seed that is well mixed itself and one integer or more (splitmix64)."""
    state = seed
    for part in parts:
        state = ((state ^ part) + 0x9E3779B97F4A7C15) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state


def unit(seed: int, *parts: int) -> float:
    """Give a number in [0, 1) for a seed and one integer or more."""
    # 53 bits are all a float holds; with 64 the division could round up to 1.0.
    return (mix(seed, *parts) >> 11) / (1 << 53)


def normal(seed: int, *parts: int) -> float:
    """Give a standard normal number for a seed and one integer or more, held within 2.5 deviations."""
    bits = mix(seed, *parts)
    radius = math.sqrt(-2.0 * math.log(1.0 - (bits >> 32) / (1 << 32)))
    return max(-2.5, min(2.5, radius * math.cos((bits & 0xFFFFFFFF) / (1 << 32) * 2.0 * math.pi)))
