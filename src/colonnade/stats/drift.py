"""How far a window of rows lies from its reference, and whether that is worth an alarm.

An alarm needs three things. The difference is *significant*: Holm's method at 1 % over all tests
of all columns, so that a window without drift raises a false finding in at most 1 % of cases,
however many columns there are. Its *effect* lies above a floor that the reference's own blocks of
time set: a season that the reference already went through is no drift. And it *lasts*: 2 of the
last 3 windows.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from colonnade.stats.distance import Cells, Contrast, Measure, contrasts
from colonnade.stats.profile import (
    NumberProfile,
    Profile,
    WordProfile,
    merge_all,
    require_same_frame,
)

LEVEL = 0.01
MIN_ROWS = 200  # below, a shift of 0.4 standard deviations may go unseen
MIN_BLOCKS = 4
PLAIN_FLOOR = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """One test of one column.

    Attributes:
        p_value: adjusted by Holm's method over all tests of the window.
        effect: a difference of shares (for ``ks`` of cumulative shares, for ``bins`` the total
            variation) less what chance alone gives with this many rows; see `distance`.
        floor: what the effect must exceed.
        drifted: significant, and the effect above its floor.
    """

    measure: Measure
    p_value: float
    effect: float
    floor: float
    drifted: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ColumnDrift:
    """The verdict on one column of one window.

    Attributes:
        rows: in the window.
        drifted: at least one test says so.
        evidence: the tests, the telling ones first; empty where the column was not judged.
        reason: why it was not judged, else empty.
    """

    column: str
    rows: int
    drifted: bool
    evidence: tuple[Evidence, ...] = ()
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Floors:
    """The effect that a column must exceed, by column and measure.

    Attributes:
        blocks: how many blocks of time they were calibrated on.
        reason: why they could not be calibrated, else empty; `PLAIN_FLOOR` then holds for all.
    """

    blocks: int
    columns: dict[str, dict[str, float]] = field(default_factory=dict)
    reason: str = ""

    def of(self, column: str, measure: Measure) -> float:
        """The floor of one measure, `PLAIN_FLOOR` where none was calibrated."""
        return self.columns.get(column, {}).get(measure, PLAIN_FLOOR)


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarm:
    """A column that drifted in enough of its last windows.

    Attributes:
        drifted: in how many of them.
        windows: how many were looked at; windows that did not judge the column are skipped.
        latest: the newest verdict that found drift.
    """

    column: str
    drifted: int
    windows: int
    latest: ColumnDrift


def compare(
    reference: Profile, window: Profile, floors: Floors, level: float = LEVEL
) -> tuple[ColumnDrift, ...]:
    """Judge every column of the reference in one window.

    A test's p-value is adjusted by Holm's step-down method over all tests of all judged columns
    at once (up to four a column). That bounds the chance of any false finding in the window by
    `level`, whatever the columns' dependence.

    Raises:
        UsageError: CN-STATS-001 where a column was counted into another frame.
    """
    tests: list[tuple[str, Contrast]] = []
    unjudged: dict[str, str] = {}
    columns = window.columns
    for name, known in reference.columns.items():
        unjudged[name] = _obstacle(known, columns.get(name))
        if not unjudged[name]:
            require_same_frame(name, known, columns[name])
            found = contrasts(Cells.of(known), Cells.of(columns[name]))
            tests.extend((name, test) for test in found)
    evidence: dict[str, list[Evidence]] = defaultdict(list)
    for (name, test), p_value in zip(tests, _holm([t.p_value for _, t in tests]), strict=True):
        evidence[name].append(_judged(test, p_value, floors.of(name, test.measure), level))
    return tuple(
        ColumnDrift(
            column=name,
            rows=columns[name].rows if name in columns else 0,
            drifted=any(e.drifted for e in evidence[name]),
            evidence=tuple(sorted(evidence[name], key=lambda e: (not e.drifted, e.p_value))),
            reason=reason,
        )
        for name, reason in unjudged.items()
    )


def calibrate(blocks: Sequence[Profile]) -> Floors:
    """The largest effect that the reference's own blocks of time show against each other.

    Each block is compared with the others together. The floor is the largest effect, not an
    average or a quantile: a further window that is just another such block exceeds the largest
    of K with a chance of about 1 in K + 1, whatever the distribution and the season. Blocks should
    be as long as the windows that will be judged: a day differs more from a quarter than a week.

    Args:
        blocks: profiles of consecutive stretches of the reference, in its frame. Those of fewer
            than `MIN_ROWS` rows are too noisy to set a floor and are left out.

    Raises:
        UsageError: CN-STATS-001 where the blocks' frames differ.
    """
    usable = [block for block in blocks if block.rows >= MIN_ROWS]
    if len(usable) < MIN_BLOCKS:
        return Floors(
            blocks=len(usable),
            reason=f"cannot calibrate: {len(usable)} blocks of time with {MIN_ROWS} rows or more, "
            f"at least {MIN_BLOCKS} needed",
        )
    floors: dict[str, dict[str, float]] = {}
    for name, known in merge_all(usable).columns.items():
        whole = Cells.of(known)
        largest: dict[str, float] = defaultdict(float)
        for block in usable:
            part = Cells.of(block.columns[name])
            for test in contrasts(whole.without(part), part):
                largest[test.measure] = max(largest[test.measure], test.effect)
        floors[name] = dict(largest)
    return Floors(blocks=len(usable), columns=floors)


def alarm(
    windows: Sequence[tuple[ColumnDrift, ...]], needed: int = 2, of: int = 3
) -> tuple[Alarm, ...]:
    """The columns that drifted in `needed` of the last `of` windows that judged them.

    Args:
        windows: verdicts of consecutive windows, the oldest first.
        needed: drifted windows that make an alarm.
        of: how many of the newest windows are looked at.
    """
    history: dict[str, list[ColumnDrift]] = defaultdict(list)
    for window in windows:
        for verdict in window:
            if not verdict.reason:
                history[verdict.column].append(verdict)
    alarms = []
    for name, verdicts in history.items():
        recent = verdicts[-of:]
        drifted = [v for v in recent if v.drifted]
        if len(drifted) >= needed:
            alarms.append(
                Alarm(column=name, drifted=len(drifted), windows=len(recent), latest=drifted[-1])
            )
    return tuple(alarms)


def _judged(test: Contrast, p_value: float, floor: float, level: float) -> Evidence:
    return Evidence(
        measure=test.measure,
        p_value=p_value,
        effect=test.effect,
        floor=floor,
        drifted=p_value <= level and test.effect > floor,
    )


def _holm(p_values: Sequence[float]) -> list[float]:
    """Adjusted p-values of Holm's step-down method (1979)."""
    p = np.array(p_values, np.float64)
    order = np.argsort(p)
    stepped = np.maximum.accumulate(p[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty_like(p)
    adjusted[order] = np.minimum(stepped, 1.0)
    return list(adjusted.tolist())


def _obstacle(
    reference: NumberProfile | WordProfile, window: NumberProfile | WordProfile | None
) -> str:
    """Why a column cannot be judged, else empty."""
    if window is None:
        return "the window has no such column"
    if reference.rows < MIN_ROWS:
        return f"too little power: {reference.rows} rows in the reference, {MIN_ROWS} needed"
    if window.rows < MIN_ROWS:
        return f"too little power: {window.rows} rows in the window, {MIN_ROWS} needed"
    return ""
