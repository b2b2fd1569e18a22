"""The profile of a table version, kept as a blob, and what it is after rows came and went.

An appended version adds to the profile before; where rows took the place of others, those are
taken out of it. Only where an extreme may have gone with them, all rows are looked at again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Literal

import msgspec
import polars as pl

from colonnade.govern.session import Session
from colonnade.records import canonical
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
    new = profile.summarise(columns, earlier)
    if not _extremes_stay(session, before, _at_risk(earlier, old, new), went):
        return profile_of(session, whole())
    found = profile.merge(profile.subtract(earlier, old), new)
    return session.put_blob(msgspec.json.encode(found))


_Extreme = tuple[str, Literal["low", "high"]]


def _extremes_stay(
    session: Session, before: Entry, at_risk: Iterable[_Extreme], went: pl.DataFrame
) -> bool:
    """Whether each extreme that went with a row is left in another one."""
    rows = session.scan(before.ref)
    for name, extreme in at_risk:
        # compared as it is stored, so that files without it are not opened
        is_it = pl.col(name) == (went[name].min() if extreme == "low" else went[name].max())
        wanted = int(went.select(is_it.sum()).item())
        left = rows.filter(is_it).select(pl.lit(1)).head(wanted + 1)
        if left.collect(engine="streaming").height <= wanted:
            return False
    return True


def _at_risk(earlier: Profile, old: Profile, new: Profile) -> Iterator[_Extreme]:
    """The extremes that rows had which went, as far as none that came reaches them."""
    for name, went in old.numbers.items():
        whole, came = earlier.numbers[name], new.numbers[name]
        if not sum(whole.counts) > sum(went.counts) > 0:
            continue
        if went.low == whole.low and (came.low is None or came.low > (whole.low or 0.0)):
            yield name, "low"
        if went.high == whole.high and (came.high is None or came.high < (whole.high or 0.0)):
            yield name, "high"


def read_profile(session: Session, entry: Entry) -> Profile | None:
    """The profile of a version, None where it has none."""
    digest = entry.read(TableVersion).profile
    return None if digest is None else canonical.read_json(session.blob(digest), Profile)
