"""Identifiers that are readable, sort by time of making and cannot be guessed (UUIDv7)."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from uuid import UUID

from colonnade.base import clock


def uuid7() -> str:
    """A new UUIDv7 (RFC 9562) as 36 lower-case characters."""
    ms, fraction = divmod(clock.now_s() * 1000, 1)
    value = (
        (int(ms) & (1 << 48) - 1) << 80
        | 0x7 << 76
        | int(fraction * 4096) << 64  # the RFC's method 3: they sort within a millisecond too
        | 0b10 << 62
        | int.from_bytes(os.urandom(8), "big") >> 2
    )
    return str(UUID(int=value))


def made_at(identifier: str) -> datetime:
    """The millisecond in which a UUIDv7 was made.

    Raises:
        ValueError: the text is no UUID of version 7.
    """
    value = UUID(identifier)
    if value.version != 7:
        raise ValueError(f"{identifier} is a UUID of version {value.version}, not 7")
    return datetime.fromtimestamp((value.int >> 80) / 1000, tz=UTC)
