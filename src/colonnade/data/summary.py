"""The profile of a table version, kept as a blob; an appended version adds to the one before."""

from __future__ import annotations

import msgspec
import polars as pl

from colonnade.govern.session import Session
from colonnade.records.entry import Entry
from colonnade.records.table import TableVersion
from colonnade.stats import frame, profile
from colonnade.stats.profile import Profile


def profile_of(session: Session, rows: pl.DataFrame, before: Entry | None = None) -> str:
    """Summarise `rows`, on top of the version `before` where it has the same columns.

    Returns:
        Digest of the profile blob.
    """
    columns = frame.columns(rows)
    earlier = None if before is None else _read(session, before)
    if earlier is None or set(earlier.columns) != set(columns):
        found = profile.summarise(columns)
    else:
        found = profile.merge(earlier, profile.summarise(columns, earlier))
    return session.put_blob(msgspec.json.encode(found))


def _read(session: Session, entry: Entry) -> Profile | None:
    digest = entry.read(TableVersion).profile
    return None if digest is None else msgspec.json.decode(session.blob(digest), type=Profile)
