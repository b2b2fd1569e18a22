"""The profile of a table version, kept as a blob; an appended version adds to the one before."""

from __future__ import annotations

from collections.abc import Mapping

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
    words = {name for name, column in columns.items() if isinstance(column, Mapping)}
    if earlier and (set(earlier.words), set(earlier.numbers)) == (words, set(columns) - words):
        found = profile.merge(earlier, profile.summarise(columns, earlier))
    else:
        found = profile.summarise(columns)
    return session.put_blob(msgspec.json.encode(found))


def _read(session: Session, entry: Entry) -> Profile | None:
    digest = entry.read(TableVersion).profile
    return None if digest is None else msgspec.json.decode(session.blob(digest), type=Profile)
