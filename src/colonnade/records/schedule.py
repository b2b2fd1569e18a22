"""When a thing is due: cron lines, read in UTC."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from cronsim import CronSim, CronSimError

ON_ARRIVAL: Final = "on arrival"
_FIELDS: Final = 5  # the library reads a sixth one as seconds


def is_schedule(text: str) -> bool:
    """Whether a text is a cron line of five fields that comes true at some time."""
    return _next(text, datetime(2024, 1, 1)) is not None  # noqa: DTZ001 (any moment will do)


def next_due(text: str, after: datetime) -> datetime | None:
    """The first due time behind a moment; None for what is no cron line."""
    return _next(text, after)


def last_due(text: str, after: datetime, until: datetime) -> datetime | None:
    """The newest due time behind `after` and up to `until`; None where none is."""
    # Backwards the library leaves the moment itself out, which may be a due time.
    found = _next(text, until.replace(second=59), back=True)
    return found if found is not None and found > after else None


def _next(text: str, at: datetime, *, back: bool = False) -> datetime | None:
    if len(text.split()) != _FIELDS:
        return None
    try:
        return next(CronSim(text, at, reverse=back))
    except (CronSimError, StopIteration):
        return None
