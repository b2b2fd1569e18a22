"""The profile of a table version, kept as a blob, and what it is after rows came and went.

An appended version adds to the profile before; where rows took the place of others, those are
taken out of it. Only where an extreme may have gone with them, all rows are looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

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
    earlier = None if before is None else read_profile(session, before)
    words = {name for name, column in columns.items() if isinstance(column, Mapping)}
    if earlier and (set(earlier.words), set(earlier.numbers)) == (words, set(columns) - words):
        found = profile.merge(earlier, profile.summarise(columns, earlier))
    else:
        found = profile.summarise(columns)
    return session.put_blob(msgspec.json.encode(found))


def profile_after(
    session: Session,
    before: Entry,
    went: pl.DataFrame,
    came: pl.DataFrame,
    whole: Callable[[], pl.DataFrame],
) -> str:
    """Summarise a table in which the rows `came` take the place of the rows `went`.

    Args:
        session: which reads and stores.
        before: the version before.
        went: rows of it that are no longer there.
        came: rows that are.
        whole: all rows of the new version, for where the profile before does not do.

    Returns:
        Digest of the profile blob.
    """
    earlier = read_profile(session, before)
    columns = frame.columns(came)
    words = {name for name, column in columns.items() if isinstance(column, Mapping)}
    if (
        earlier is None
        or (set(earlier.words), set(earlier.numbers)) != (words, set(columns) - words)
        or not set(columns) <= set(went.columns)
    ):
        return profile_of(session, whole())
    old = profile.summarise(frame.columns(went, list(columns)), earlier)
    if not _extremes_stay(session, before, earlier, old, went):
        return profile_of(session, whole())
    left = profile.subtract(earlier, old)
    found = profile.merge(left, profile.summarise(columns, earlier))
    return session.put_blob(msgspec.json.encode(found))


def _extremes_stay(
    session: Session, before: Entry, earlier: Profile, old: Profile, went: pl.DataFrame
) -> bool:
    """Whether each extreme that went with a row is left in another one."""
    rows = session.scan(before.ref)
    wanted, left = [], []
    for name, value in _touched(earlier, old):
        is_it = frame.number(pl.col(name), went.schema[name]) == value
        wanted.append(int(went.select(is_it.sum()).item()))
        left.append(rows.filter(is_it).select(name).head(wanted[-1] + 1))
    return all(
        found.height > count for found, count in zip(pl.collect_all(left), wanted, strict=True)
    )


def _touched(earlier: Profile, old: Profile) -> Iterator[tuple[str, float]]:
    for name, column in old.numbers.items():
        whole = earlier.numbers[name]
        if sum(whole.counts) > sum(column.counts) > 0:
            for ours, theirs in ((column.low, whole.low), (column.high, whole.high)):
                if ours is not None and ours == theirs:
                    yield name, ours


def read_profile(session: Session, entry: Entry) -> Profile | None:
    """The profile of a version, None where it has none."""
    digest = entry.read(TableVersion).profile
    return None if digest is None else msgspec.json.decode(session.blob(digest), type=Profile)
