"""Prediction ids: UUIDv7 (RFC 9562), made fast and in order within one worker.

48 bits of milliseconds, 12 bits that count within the millisecond, 62 bits of randomness: ids of
one worker sort as they were made, those of several workers never meet, and none can be guessed.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

_POOL = 512
_COUNTS = 1 << 12
_VARIANT = {digit: "89ab"[int(digit, 16) & 3] for digit in "0123456789abcdef"}


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


class Mint:
    """Makes ids; one per worker.

    Args:
        now_ms: the wall clock, milliseconds since 1970. Where it stands or steps back, ids go on
            counting from the newest millisecond that was seen.
    """

    def __init__(self, now_ms: Callable[[], int] = _now_ms) -> None:
        self._now_ms = now_ms
        self._ms = 0
        self._count = 0
        self._prefix = ""
        self._pool = ""
        self._at = 0

    def __call__(self) -> str:
        """A new id, 36 lower-case characters."""
        ms = self._now_ms()
        if ms > self._ms:
            self._begin(ms)
        elif self._count == _COUNTS:
            self._begin(self._ms + 1)
        at = self._at
        if at == len(self._pool):
            self._pool, at = os.urandom(8 * _POOL).hex(), 0
        self._at = at + 16
        tail = self._pool[at : at + 16]
        count, self._count = self._count, self._count + 1
        return f"{self._prefix}{count:03x}-{_VARIANT[tail[0]]}{tail[1:4]}-{tail[4:]}"

    def _begin(self, ms: int) -> None:
        self._ms, self._count = ms, 0
        self._prefix = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7"
