"""What a set of rows looked like, as counts that can be added up.

The first profile of a table, the *reference*, fixes the frame of every column: quantile edges for
numbers, the frequent words for categories. Later profiles count into that frame, so hours add up
to days and days to months without the rows, and `colonnade.stats.drift` compares like with like.

No edge is drawn and no word is named for fewer than `MIN_ROWS` rows of the reference. The extremes
`low` and `high` are values of single rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import reduce
from operator import add, sub
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from colonnade.base.errors import UsageError

FloatArray = NDArray[np.float64]
Column = NDArray[np.generic] | Mapping[str | None, int]

MAX_BINS = 1024
MAX_WORDS = 200
MIN_ROWS = 10

_SHARES = 960  # leaves room for the finer bins of the tails
_LIMIT = 1e100  # squares and differences of anything smaller stay finite
_UNIT_BITS = 24  # a value is rounded to 2^-24 of the edges' range before it is summed
_REACH_UNITS = 2.0**40  # farther from the origin counts as this far: 65,536 ranges

_T = TypeVar("_T", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """The frame of a numeric column, fixed by the reference.

    Attributes:
        values: ascending; bin ``i`` holds ``values[i - 1] < x <= values[i]``, the outer two are
            open. About `MAX_BINS` at most; each stands for at least `MIN_ROWS` rows.
        origin: what values are measured from when they are summed.
        unit: what they are rounded to then, a power of two; sums of whole units are exact in
            floating point (up to 2^53), so that merging does not depend on the order.
        std: standard deviation of the reference.
    """

    values: tuple[float, ...]
    origin: float
    unit: float
    std: float


@dataclass(frozen=True, slots=True, kw_only=True)
class NumberProfile:
    """A number, integer or flag column.

    Attributes:
        counts: rows per bin, one more than there are edges.
        sums: sum of ``x - edges.origin`` per bin.
        missing: rows that hold NaN, an infinity or a size beyond 1e100.
        low: smallest value; None where every row is missing.
        high: largest value; None where every row is missing.
    """

    edges: Edges
    counts: tuple[int, ...]
    sums: tuple[float, ...]
    missing: int
    low: float | None
    high: float | None

    @property
    def rows(self) -> int:
        """All rows, missing ones too."""
        return sum(self.counts) + self.missing

    @property
    def mean(self) -> float | None:
        """Mean of the present values, None where there are none."""
        present = sum(self.counts)
        return self.edges.origin + sum(self.sums) / present if present else None


@dataclass(frozen=True, slots=True, kw_only=True)
class WordProfile:
    """A category column.

    Attributes:
        words: the named words, the most frequent of the reference first.
        counts: rows per named word.
        other: rows with a word that is rare in the reference or new to it. Together, because a
            rare word that the reference happened not to hold is no news.
        missing: rows without a word (None or empty).
    """

    words: tuple[str, ...]
    counts: tuple[int, ...]
    other: int
    missing: int

    @property
    def rows(self) -> int:
        """All rows, missing ones too."""
        return sum(self.counts) + self.other + self.missing


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """Columns by name; survives a round trip through JSON unchanged."""

    numbers: dict[str, NumberProfile] = field(default_factory=dict)
    words: dict[str, WordProfile] = field(default_factory=dict)

    @property
    def columns(self) -> dict[str, NumberProfile | WordProfile]:
        """All columns, numbers first."""
        return {**self.numbers, **self.words}

    @property
    def rows(self) -> int:
        """Rows of the fullest column; normally all have the same number."""
        return max((column.rows for column in self.columns.values()), default=0)


def summarise(columns: Mapping[str, Column], reference: Profile | None = None) -> Profile:
    """Count rows into the frame of `reference`, or into a frame of their own.

    Memory is that of one column. A table that does not fit is summed up in batches against the
    profile of its first batch and merged.

    Args:
        columns: a number, integer or flag column as an array [n] (missing: NaN); a category column
            as word -> rows (missing: None or ""), which is what `Counter` or a group-by gives.
        reference: whose frame to use; it may hold more columns.

    Raises:
        UsageError: CN-STATS-001 for a column that the reference lacks or holds as another kind;
            CN-STATS-002 for an array that is not a list of numbers.
    """
    numbers: dict[str, NumberProfile] = {}
    words: dict[str, WordProfile] = {}
    for name, column in columns.items():
        if isinstance(column, Mapping):
            words[name] = _words(column, _known(name, reference.words) if reference else None)
        else:
            known = _known(name, reference.numbers) if reference else None
            numbers[name] = _numbers(_as_numbers(name, column), known)
    return Profile(numbers=numbers, words=words)


def merge(a: Profile, b: Profile) -> Profile:
    """The profile of both sets of rows: exact, in any order and grouping.

    Raises:
        UsageError: CN-STATS-001 where columns or their frames differ.
    """
    return Profile(
        numbers=_merged(a.numbers, b.numbers, _add_numbers),
        words=_merged(a.words, b.words, _add_words),
    )


def subtract(a: Profile, b: Profile) -> Profile:
    """The profile of the rows of `a` without those of `b`, which are among them.

    `low` and `high` stay those of `a`: whether a row that is left still has them, the rows say.

    Raises:
        UsageError: CN-STATS-001 where columns or their frames differ.
    """
    return Profile(
        numbers=_merged(a.numbers, b.numbers, _less_numbers),
        words=_merged(a.words, b.words, _less_words),
    )


def merge_all(profiles: Sequence[Profile]) -> Profile:
    """The profile of all sets of rows; at least one."""
    return reduce(merge, profiles)


def require_same_frame(
    name: str, a: NumberProfile | WordProfile, b: NumberProfile | WordProfile
) -> None:
    """Refuse two profiles of a column whose counts cannot be set against each other.

    Raises:
        UsageError: CN-STATS-001.
    """
    if isinstance(a, NumberProfile) and isinstance(b, NumberProfile):
        same = a.edges == b.edges
    elif isinstance(a, WordProfile) and isinstance(b, WordProfile):
        same = a.words == b.words
    else:
        same = False
    if not same:
        raise _frame_error(f"column {name!r} was counted into two different frames")


def _as_numbers(name: str, column: NDArray[np.generic]) -> FloatArray:
    if column.ndim != 1 or column.dtype.kind not in "fiub":
        raise UsageError(
            "CN-STATS-002",
            f"column {name!r} came as {column.ndim}-dimensional {column.dtype}",
            "pass numbers as a one-dimensional numeric array, categories as a mapping word -> rows",
        )
    return column.astype(np.float64)


def _numbers(column: FloatArray, reference: NumberProfile | None) -> NumberProfile:
    values = column[np.abs(column) < _LIMIT]  # NaN compares as False
    values.sort()
    edges = reference.edges if reference else _frame(values)
    starts = np.searchsorted(values, edges.values, side="right")
    counts = np.diff(starts, prepend=0, append=len(values))
    return NumberProfile(
        edges=edges,
        counts=tuple(counts.tolist()),
        sums=tuple(_sums(values, counts, edges).tolist()),
        missing=len(column) - len(values),
        low=float(values[0]) + 0.0 if len(values) else None,
        high=float(values[-1]) + 0.0 if len(values) else None,
    )


def _frame(values: FloatArray) -> Edges:
    """Edges of sorted values, and the grid their sums are kept on."""
    edges = _edges(values)
    if not len(values):
        return Edges(values=(), origin=0.0, unit=1.0, std=0.0)
    span = edges[-1] - edges[0] if len(edges) > 1 else 0.0
    span = span or float(values[-1] - values[0]) or abs(float(values[0])) or 1.0
    unit = math.ldexp(1.0, max(math.frexp(span)[1] - _UNIT_BITS, -1000))
    return Edges(
        values=tuple(edges),
        origin=float(values[len(values) // 2]) + 0.0,
        unit=unit,
        std=float(np.std(values)),
    )


def _edges(values: FloatArray) -> list[float]:
    """Upper ends of bins of `MIN_ROWS` rows or more.

    Every value has its own bin where they are few. Else bins hold equal shares, and towards both
    ends half as many rows each time: a bin that reached far into a tail would hide what moves
    there.
    """
    few = np.count_nonzero(np.diff(values)) < MAX_BINS
    share = MIN_ROWS if few else max(MIN_ROWS, math.ceil(len(values) / _SHARES))
    edges: list[float] = []
    start = 0
    while (left := len(values) - start) >= MIN_ROWS:
        rows = max(MIN_ROWS, min(share, start, left // 2))
        edge = values[start + rows - 1]
        first, end = np.searchsorted(values, edge), np.searchsorted(values, edge, side="right")
        if end - first >= 2 * share and (start == 0 or first > start):
            # A value this frequent gets a bin of its own, or what is new below it would hide in it.
            edges.append(float(np.nextafter(edge, -np.inf)))
        edges.append(float(edge) + 0.0)
        start = int(end)
    return edges


def _sums(values: FloatArray, counts: NDArray[np.int64], edges: Edges) -> FloatArray:
    """Per bin, the sum of whole units between the values and the origin."""
    with np.errstate(over="ignore", under="ignore"):
        units = np.rint((values - edges.origin) / edges.unit)
    np.clip(units, -_REACH_UNITS, _REACH_UNITS, out=units)
    sums = np.zeros(len(counts))
    filled = counts > 0
    if len(values):
        sums[filled] = np.add.reduceat(units, (np.cumsum(counts) - counts)[filled])
    return sums * edges.unit + 0.0  # + 0.0: no negative zero in the JSON


def _words(column: Mapping[str | None, int], reference: WordProfile | None) -> WordProfile:
    present = {word: int(rows) for word, rows in column.items() if word}
    if reference is None:
        frequent = sorted(
            (w for w, rows in present.items() if rows >= MIN_ROWS), key=lambda w: (-present[w], w)
        )
        named = tuple(frequent[:MAX_WORDS])
    else:
        named = reference.words
    counts = tuple(present.get(word, 0) for word in named)
    total = sum(present.values())
    return WordProfile(
        words=named,
        counts=counts,
        other=total - sum(counts),
        missing=int(sum(column.values())) - total,
    )


_P = TypeVar("_P", NumberProfile, WordProfile)


def _known(name: str, columns: Mapping[str, _P]) -> _P:
    try:
        return columns[name]
    except KeyError:
        raise _frame_error(f"the reference has no column {name!r} of this kind") from None


def _merged(
    a: Mapping[str, _P], b: Mapping[str, _P], join: Callable[[_P, _P], _P]
) -> dict[str, _P]:
    if a.keys() != b.keys():
        raise _frame_error(f"columns {sorted(a.keys() ^ b.keys())} are in one profile only")
    for name, column in a.items():
        require_same_frame(name, column, b[name])
    return {name: join(column, b[name]) for name, column in a.items()}


def _add_numbers(a: NumberProfile, b: NumberProfile) -> NumberProfile:
    lows = [x for x in (a.low, b.low) if x is not None]
    highs = [x for x in (a.high, b.high) if x is not None]
    return NumberProfile(
        edges=a.edges,
        counts=_added(a.counts, b.counts),
        sums=_added(a.sums, b.sums),
        missing=a.missing + b.missing,
        low=min(lows, default=None),
        high=max(highs, default=None),
    )


def _add_words(a: WordProfile, b: WordProfile) -> WordProfile:
    return WordProfile(
        words=a.words,
        counts=_added(a.counts, b.counts),
        other=a.other + b.other,
        missing=a.missing + b.missing,
    )


def _less_numbers(a: NumberProfile, b: NumberProfile) -> NumberProfile:
    return NumberProfile(
        edges=a.edges,
        counts=tuple(map(sub, a.counts, b.counts)),
        sums=tuple(x - y + 0.0 for x, y in zip(a.sums, b.sums, strict=True)),
        missing=a.missing - b.missing,
        low=a.low if sum(a.counts) > sum(b.counts) else None,
        high=a.high if sum(a.counts) > sum(b.counts) else None,
    )


def _less_words(a: WordProfile, b: WordProfile) -> WordProfile:
    return WordProfile(
        words=a.words,
        counts=tuple(map(sub, a.counts, b.counts)),
        other=a.other - b.other,
        missing=a.missing - b.missing,
    )


def _added(a: tuple[_T, ...], b: tuple[_T, ...]) -> tuple[_T, ...]:
    return tuple(map(add, a, b))


def _frame_error(message: str) -> UsageError:
    return UsageError(
        "CN-STATS-001", message, "summarise both sets of rows against the same reference profile"
    )
