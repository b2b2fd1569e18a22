"""What a table version looks like, and how two differ: from their profiles, not their rows."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import numpy as np

from colonnade.data.summary import read_profile
from colonnade.govern.session import Session
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.entry import Entry
from colonnade.records.table import TableVersion
from colonnade.stats import distance, frame, profile
from colonnade.stats.profile import NumberProfile, Profile, WordProfile

BARS: Final = 12
_WORDS: Final = 5
Value = float | str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnLook:
    """One column of a version.

    Attributes:
        missing: share of the rows without a value; None where the profile does not know.
        low: smallest value; a time is text.
        mean: of the present values.
        high: largest value.
        shares: rows in `BARS` stretches of equal width between `low` and `high`.
        words: the most frequent words and their shares.
    """

    name: str
    type: str
    missing: float | None = None
    low: Value = None
    mean: Value = None
    high: Value = None
    shares: tuple[float, ...] = ()
    words: dict[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Quality:
    """What the validation report of a version says of the rows that came with it."""

    contract: str
    rows: int
    good: int
    bad: int
    reasons: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Look:
    """A version: its rows, their quality and every column.

    Attributes:
        quality: None where no contract was asked.
    """

    version: str
    at: str
    actor: str
    rows: int
    quality: Quality | None
    columns: tuple[ColumnLook, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnChange:
    """One column in two versions.

    Attributes:
        change: ``added``, ``removed``, ``retyped``, or empty.
        missing: share of missing values, before and now.
        mean: before and now.
        ks: Kolmogorov-Smirnov distance of numbers, 0 to 1.
        total_variation: distance of the shares of bins or words, 0 to 1.
    """

    name: str
    type: str
    change: str = ""
    missing: tuple[float | None, float | None] = (None, None)
    mean: tuple[Value, Value] = (None, None)
    ks: float | None = None
    total_variation: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Two versions of a table, columns in the order of the newer one."""

    before: str
    now: str
    rows: tuple[int, int]
    columns: tuple[ColumnChange, ...]


def describe(session: Session, entry: Entry) -> Look:
    """The look of a version.

    Raises:
        RefusedError: CN-ACCESS-001.
    """
    version = entry.read(TableVersion)
    session.scan(entry.ref)  # its extremes and words are cells: looking at them is a read
    found = read_profile(session, entry) or Profile()
    return Look(
        version=entry.ref.short,
        at=entry.at,
        actor=entry.actor,
        rows=version.rows,
        quality=_quality(session, version),
        columns=tuple(
            _column(name, dtype, found.columns.get(name)) for name, dtype in version.columns.items()
        ),
    )


def differ(session: Session, before: Entry, now: Entry) -> Difference:
    """How a version differs from another; its rows are counted into the frame of that one."""
    old, new = before.read(TableVersion), now.read(TableVersion)
    session.scan(before.ref)
    reference = read_profile(session, before) or Profile()
    same = [name for name, dtype in new.columns.items() if old.columns.get(name) == dtype]
    shared = [name for name in same if name in reference.columns]
    window = Profile()
    if shared:
        rows = session.scan(now.ref, shared).collect()
        window = profile.summarise(frame.columns(rows), reference)
    columns = [
        _changed(name, dtype, old.columns.get(name), reference, window)
        for name, dtype in new.columns.items()
    ]
    columns += [
        ColumnChange(name=name, type=dtype, change="removed")
        for name, dtype in old.columns.items()
        if name not in new.columns
    ]
    return Difference(
        before=before.ref.short,
        now=now.ref.short,
        rows=(old.rows, new.rows),
        columns=tuple(columns),
    )


def _changed(
    name: str, dtype: str, was: str | None, reference: Profile, window: Profile
) -> ColumnChange:
    if was != dtype:
        return ColumnChange(
            name=name,
            type=dtype if was is None else f"{was} -> {dtype}",
            change="added" if was is None else "retyped",
        )
    old, new = reference.columns.get(name), window.columns.get(name)
    if old is None or new is None:
        return ColumnChange(name=name, type=dtype)
    apart = distance.distances(old, new)
    return ColumnChange(
        name=name,
        type=dtype,
        missing=(_missing(old), _missing(new)),
        mean=(_mean(dtype, old), _mean(dtype, new)),
        ks=None if apart is None else apart.ks,
        total_variation=None if apart is None else apart.total_variation,
    )


def _column(name: str, dtype: str, found: NumberProfile | WordProfile | None) -> ColumnLook:
    if found is None:
        return ColumnLook(name=name, type=dtype)
    if isinstance(found, WordProfile):
        return ColumnLook(name=name, type=dtype, missing=_missing(found), words=_words(found))
    return ColumnLook(
        name=name,
        type=dtype,
        missing=_missing(found),
        low=_value(dtype, found.low),
        mean=_mean(dtype, found),
        high=_value(dtype, found.high),
        shares=_shares(found),
    )


def _words(found: WordProfile) -> dict[str, float]:
    rows = max(1, found.rows)
    pairs = sorted(zip(found.words, found.counts, strict=True), key=lambda pair: -pair[1])
    return {word: count / rows for word, count in pairs[:_WORDS] if count}


def _shares(found: NumberProfile) -> tuple[float, ...]:
    """Rows per stretch of equal width; within a bin they count as evenly spread."""
    if found.low is None or found.high is None or found.low == found.high:
        return ()
    ends = np.clip([found.low, *found.edges.values, found.high], found.low, found.high)
    below = np.r_[0, np.cumsum(found.counts)]
    at = np.linspace(found.low, found.high, BARS + 1)
    # Of several edges at one value the last one counts: a bin may be a single value.
    last = np.r_[np.diff(ends) > 0, True]
    inside = np.interp(at, ends[last], below[last])
    return tuple(float(share) for share in np.diff(inside) / max(1, below[-1]))


def _missing(found: NumberProfile | WordProfile) -> float:
    return found.missing / max(1, found.rows)


def _mean(dtype: str, found: NumberProfile | WordProfile) -> Value:
    return _value(dtype, found.mean) if isinstance(found, NumberProfile) else None


def _value(dtype: str, number: float | None) -> Value:
    """Times are counted in seconds; people read them as times."""
    if number is None or not dtype.startswith("Date"):
        return number
    at = datetime.fromtimestamp(number, tz=UTC)
    return at.date().isoformat() if dtype == "Date" else at.isoformat(timespec="seconds")


def _quality(session: Session, version: TableVersion) -> Quality | None:
    if version.report is None:
        return None
    found: Mapping[str, Json] = json.loads(session.blob(version.report))
    return canonical.read({name: found[name] for name in Quality.__slots__}, Quality)
