"""The wall clock, in one place, so that a test can fix it.

Event time never comes from here: it is in the data.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime


def now() -> datetime:
    """The current instant, UTC."""
    return datetime.fromtimestamp(now_s(), tz=UTC)


def now_s() -> float:
    """The current instant in seconds since 1970."""
    return time.time()


def stamp(at: datetime) -> str:
    """Write an instant as RFC 3339 with microseconds and ``Z``; the texts sort like the times."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def instant(text: str) -> datetime:
    """Read what `stamp` wrote (any ISO 8601 text; without an offset it is UTC)."""
    at = datetime.fromisoformat(text)
    return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
