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
        self._tails: list[str] = []

    def __call__(self) -> str:
        """A new id, 36 lower-case characters."""
        ms = self._now_ms()
        if ms > self._ms:
            self._begin(ms)
        elif self._count == _COUNTS:
            self._begin(self._ms + 1)
        if not self._tails:
            self._tails = _random_tails()
        count = self._count
        self._count = count + 1
        return f"{self._prefix}{count:03x}{self._tails.pop()}"

    def _begin(self, ms: int) -> None:
        self._ms, self._count = ms, 0
        self._prefix = f"{ms >> 16:08x}-{ms & 0xFFFF:04x}-7"


def _random_tails() -> list[str]:
    """The last two groups of ids, made ahead: together they cost less than one by one."""
    digits = os.urandom(8 * _POOL).hex()
    starts = range(0, len(digits), 16)
    return [
        f"-{_VARIANT[digits[i]]}{digits[i + 1 : i + 4]}-{digits[i + 4 : i + 16]}" for i in starts
    ]
