"""How far the counts of two sets of rows lie apart, and whether chance explains it.

Four tests per column, on counts in one frame:

- ``ks`` (numbers): Kolmogorov-Smirnov at the edges. Shifts and changes of scale. Conservative
  where values repeat.
- ``new`` (categories): the share of words that are rare in the reference or new to it.
- ``bins``: chi-square over 20 bins of equal reference mass, or over the named words. Changes of
  shape.
- ``spike``: the fine bin or word that grew most, a binomial tail times the number of bins. One
  value suddenly frequent, a sentinel such as -1 or 0, also inside the bulk of the distribution.
- ``missing``: the share of missing rows.

An effect is a difference of shares *less what chance alone gives* with this many rows, so that
effects of small and large windows can be held against one floor.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy import special, stats

from colonnade.stats.profile import (
    MAX_WORDS,
    MIN_ROWS,
    FloatArray,
    NumberProfile,
    WordProfile,
    require_same_frame,
)

Measure = Literal["ks", "new", "bins", "spike", "missing"]

_COARSE_BINS = 20
_MIN_EXPECTED = 10.0  # per cell of the chi-square: at p = 1e-4 the usual 5 is too few
_MEAN_ABS_NORMAL = 0.797885  # sqrt(2 / pi)
_MEAN_KOLMOGOROV = 0.868731  # sqrt(pi / 2) * ln 2
_SMALLEST_SHARE = 1e-4  # in the population stability index, where a bin is empty


@dataclass(frozen=True, slots=True, kw_only=True)
class Distances:
    """The usual distances of a window from its reference, for reports.

    Attributes:
        ks: largest difference of the cumulative shares at the edges, too small by one bin's share
            at most (0.001 for 10,000 rows and more); None for categories.
        wasserstein: area between the cumulative shares in standard deviations of the reference;
            None for categories and for a constant reference.
        jensen_shannon: the divergence's square root to base 2, 0 to 1.
        psi: population stability index, empty bins counted as a share of 0.0001.
        total_variation: the share of rows that would have to move.
    """

    ks: float | None
    wasserstein: float | None
    jensen_shannon: float
    psi: float
    total_variation: float


@dataclass(frozen=True, slots=True)
class Cells:
    """The counts of a column: bins in order, or named words."""

    counts: FloatArray
    other: int
    missing: int
    ordered: bool

    @classmethod
    def of(cls, column: NumberProfile | WordProfile) -> Cells:
        """The counts of a column's profile."""
        counts = np.array(column.counts, np.float64)
        if isinstance(column, NumberProfile):
            return cls(counts, 0, column.missing, ordered=True)
        return cls(counts, column.other, column.missing, ordered=False)

    def without(self, part: Cells) -> Cells:
        """What is left when a part is taken out again."""
        return Cells(
            self.counts - part.counts,
            self.other - part.other,
            self.missing - part.missing,
            self.ordered,
        )

    @property
    def counted(self) -> int:
        """Rows in a bin or under a named word."""
        return int(self.counts.sum())

    @property
    def present(self) -> int:
        """Rows that are not missing."""
        return self.counted + self.other


@dataclass(frozen=True, slots=True)
class Contrast:
    """One test: how probable such a difference is by chance, and how large it is beyond chance."""

    measure: Measure
    p_value: float
    effect: float


def distances(
    reference: NumberProfile | WordProfile, window: NumberProfile | WordProfile
) -> Distances | None:
    """How far the present values of a column lie apart; None where either side has none.

    Jensen-Shannon, PSI and total variation are taken over 20 bins of equal reference mass (in
    finer bins a small window would seem far off by chance alone), or over the words.

    Raises:
        UsageError: CN-STATS-001 where the frames differ.
    """
    require_same_frame("compared", reference, window)
    old, new = Cells.of(reference), Cells.of(window)
    if not old.present or not new.present:
        return None
    wasserstein = None
    if isinstance(reference, NumberProfile) and isinstance(window, NumberProfile):
        wasserstein = _wasserstein(reference, window)
    p, q = (np.r_[_grouped(cells, old), cells.other] / cells.present for cells in (old, new))
    middle = (p + q) / 2
    divergence = (special.rel_entr(p, middle) + special.rel_entr(q, middle)).sum() / 2 / np.log(2)
    p_filled, q_filled = (np.maximum(share, _SMALLEST_SHARE) for share in (p, q))
    return Distances(
        ks=_ks(old, new) if old.ordered else None,
        wasserstein=wasserstein,
        jensen_shannon=float(np.sqrt(max(divergence, 0.0))),
        psi=float(((q_filled - p_filled) * np.log(q_filled / p_filled)).sum()),
        total_variation=float(np.abs(p - q).sum() / 2),
    )


def contrasts(old: Cells, new: Cells) -> list[Contrast]:
    """All tests that apply: none without rows, only ``missing`` without a present value."""
    if not (old.present + old.missing and new.present + new.missing):
        return []
    tests = [_missing_test(old, new)]
    if not old.ordered and old.present and new.present:
        tests.append(_new_test(old, new))
    if old.counted and new.counted:
        tests += [_bins_test(old, new), _spike_test(old, new)]
        if old.ordered:
            tests.append(_ks_test(old, new))
    return tests


def _ks_test(old: Cells, new: Cells) -> Contrast:
    """Kolmogorov's limit law, which is conservative for few rows and for ties."""
    distance = _ks(old, new)
    scale = np.sqrt(1 / old.counted + 1 / new.counted)
    return Contrast(
        "ks",
        float(special.kolmogorov(distance / scale)),
        max(0.0, float(distance - _MEAN_KOLMOGOROV * scale)),
    )


def _missing_test(old: Cells, new: Cells) -> Contrast:
    """Fisher's exact test, twice the smaller tail."""
    k, n = old.present + old.missing, new.present + new.missing
    law = stats.hypergeom(k + n, old.missing + new.missing, n)
    tail = min(law.cdf(new.missing), law.sf(new.missing - 1))
    change = abs(new.missing / n - old.missing / k)
    chance = _MEAN_ABS_NORMAL * _spread(old.missing + new.missing, k, n)
    return Contrast("missing", min(1.0, 2 * float(tail)), max(0.0, float(change - chance)))


def _new_test(old: Cells, new: Cells) -> Contrast:
    """Fisher's exact test of the words without a name, corrected for how names were given.

    Words were named because the reference held them often, so unnamed ones are a little more
    frequent than it shows. Counting each row as if it had not helped to name its own word mends
    that (Good 1953): rows of words that are just named then count as unnamed. For a decline they
    do not, so that both directions err towards no finding.
    """
    k, n = old.present, new.present
    least = old.counts.min(initial=np.inf)
    at_limit = least == MIN_ROWS or (len(old.counts) == MAX_WORDS and old.other > 0)
    known = old.other + int(old.counts[old.counts == least].sum() if at_limit else 0)
    growth = float(stats.hypergeom.sf(new.other - 1, k + n, known + new.other, n))
    decline = float(stats.hypergeom.cdf(new.other, k + n, old.other + new.other, n))
    change = max(new.other / n - known / k, old.other / k - new.other / n)
    chance = _MEAN_ABS_NORMAL * _spread(old.other + new.other, k, n)
    return Contrast("new", min(1.0, 2 * growth, 2 * decline), max(0.0, float(change - chance)))


def _bins_test(old: Cells, new: Cells) -> Contrast:
    """Pearson's chi-square of two samples; the effect is their total variation."""
    k, n = old.counted, new.counted
    a, b = _pooled(_grouped(old, old), _grouped(new, old))
    if len(a) < 2:
        return Contrast("bins", 1.0, 0.0)
    together = a + b
    statistic = (np.square(np.sqrt(n / k) * a - np.sqrt(k / n) * b) / together).sum()
    moved = (np.abs(a / k - b / n) - _MEAN_ABS_NORMAL * _spread(together, k, n)).sum() / 2
    return Contrast("bins", float(special.chdtrc(len(a) - 1, statistic)), max(0.0, float(moved)))


def _spike_test(old: Cells, new: Cells) -> Contrast:
    """The largest growth of one cell: given both counts, the new one is binomial under no drift."""
    k, n = old.counted, new.counted
    grown = new.counts > 0
    tails = special.betainc(new.counts[grown], old.counts[grown] + 1, n / (n + k))
    p_value = min(1.0, len(grown) * float(tails.min()))
    largest_of_many = np.sqrt(2 * np.log(len(grown)))
    chance = largest_of_many * _spread(old.counts + new.counts, k, n)
    growth = float((new.counts / n - old.counts / k - chance).max())
    return Contrast("spike", p_value, max(0.0, growth))


def _spread(together: FloatArray | float, k: int, n: int) -> FloatArray:
    """Standard deviation of the difference of two shares when both samples have one law."""
    share = together / (k + n)
    spread: FloatArray = np.sqrt(share * (1 - share) * (1 / k + 1 / n))
    return spread


def _grouped(cells: Cells, reference: Cells) -> FloatArray:
    """Counts over 20 bins of about equal reference mass; words stay as they are."""
    if not cells.ordered:
        return cells.counts
    middle = (np.cumsum(reference.counts) - reference.counts / 2) / reference.counted
    groups = np.minimum((middle * _COARSE_BINS).astype(np.int64), _COARSE_BINS - 1)
    sums: FloatArray = np.zeros(_COARSE_BINS)
    np.add.at(sums, groups, cells.counts)
    return sums


def _pooled(a: FloatArray, b: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Join cells that expect under 10 rows in the smaller sample, so that chi-square holds."""
    together = a + b
    order = np.argsort(together)
    expected = together[order] * min(a.sum(), b.sum()) / together.sum()
    starts, filled = [0], 0.0
    for i, rows in enumerate(expected.tolist()):
        if filled >= _MIN_EXPECTED:
            starts.append(i)
            filled = 0.0
        filled += rows
    if filled < _MIN_EXPECTED:
        starts = starts[:-1] or starts
    return np.add.reduceat(a[order], starts), np.add.reduceat(b[order], starts)


def _ks(old: Cells, new: Cells) -> float:
    gap = np.cumsum(old.counts) / old.counted - np.cumsum(new.counts) / new.counted
    return float(np.abs(gap).max())


def _wasserstein(reference: NumberProfile, window: NumberProfile) -> float | None:
    """Area between the cumulative shares F and G, bin by bin, in standard deviations.

    By parts, the integral of F - G over a bin needs only F, G at its ends and the bin's sums;
    its size is the area unless F and G cross inside the bin.
    """
    edges = reference.edges
    if not edges.std:
        return None
    old, new = sum(reference.counts), sum(window.counts)
    shares = np.array(reference.counts) / old - np.array(window.counts) / new
    sums = np.array(reference.sums) / old - np.array(window.sums) / new
    heights = np.cumsum(shares)[:-1] * (np.array(edges.values) - edges.origin)
    areas = np.diff(heights, prepend=0.0, append=0.0) - sums
    return float(np.abs(areas).sum() / edges.std)
