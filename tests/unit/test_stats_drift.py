from __future__ import annotations

from functools import cache

import msgspec
import numpy as np
import pytest

from colonnade.stats.drift import (
    PLAIN_FLOOR,
    Alarm,
    ColumnDrift,
    Evidence,
    Floors,
    alarm,
    calibrate,
    compare,
)
from colonnade.stats.profile import Profile, merge_all, summarise


def rows(rng: np.random.Generator, n: int, mean: float = 0.0) -> dict:
    return {
        "x": rng.normal(mean, 1, n),
        "zeros": np.where(rng.random(n) < 0.5, 0.0, rng.lognormal(0, 1, n)),
        "carrier": dict(zip("abc", rng.multinomial(n, [0.6, 0.3, 0.1]).tolist(), strict=True)),
    }


@cache
def past() -> tuple[Profile, tuple[Profile, ...]]:
    """A reference of eight stable blocks."""
    frame = summarise(rows(np.random.default_rng(0), 5_000))
    blocks = tuple(summarise(rows(np.random.default_rng(i), 5_000), frame) for i in range(8))
    return merge_all(blocks), blocks


def verdicts(window: dict, floors: Floors | None = None) -> dict[str, ColumnDrift]:
    reference, blocks = past()
    found = compare(reference, summarise(window, reference), floors or calibrate(blocks))
    return {drift.column: drift for drift in found}


def test_rows_of_the_same_law_do_not_drift():
    assert not any(v.drifted for v in verdicts(rows(np.random.default_rng(99), 5_000)).values())


def test_a_shift_of_a_tenth_of_a_standard_deviation_drifts():
    found = verdicts(rows(np.random.default_rng(99), 5_000, mean=0.1))
    assert [name for name, v in found.items() if v.drifted] == ["x"]
    telling = found["x"].evidence[0]
    assert telling.drifted
    assert telling.p_value < 0.01
    assert telling.effect > telling.floor


@pytest.mark.parametrize("sentinel", [0.3, -999.0, np.nan])
def test_one_percent_of_a_sentinel_drifts(sentinel):
    window = rows(np.random.default_rng(99), 5_000)
    window["x"][:50] = sentinel
    assert verdicts(window)["x"].drifted


def test_a_new_category_drifts():
    window = rows(np.random.default_rng(99), 5_000)
    window["carrier"]["new"] = 50
    found = verdicts(window)["carrier"]
    assert found.drifted
    assert found.evidence[0].measure == "new"


def test_a_season_that_the_reference_went_through_is_no_drift():
    rng = np.random.default_rng(4)
    season = [0.5 * np.sin(week) for week in range(12)]
    frame = summarise({"x": np.concatenate([rng.normal(mean, 1, 2_000) for mean in season])})
    blocks = [summarise({"x": rng.normal(mean, 1, 2_000)}, frame) for mean in season]
    window = summarise({"x": rng.normal(0.3, 1, 2_000)}, frame)
    (drift,) = compare(merge_all(blocks), window, calibrate(blocks))
    assert drift.evidence[0].p_value < 1e-6
    assert not drift.drifted
    (beyond,) = compare(
        merge_all(blocks), summarise({"x": rng.normal(1.0, 1, 2_000)}, frame), calibrate(blocks)
    )
    assert beyond.drifted


def test_too_few_blocks_are_stated_and_a_plain_floor_holds():
    _, blocks = past()
    floors = calibrate([*blocks[:3], summarise(rows(np.random.default_rng(1), 100), blocks[0])])
    assert floors.reason == (
        "cannot calibrate: 3 blocks of time with 200 rows or more, at least 4 needed"
    )
    assert floors.of("x", "ks") == PLAIN_FLOOR
    window = rows(np.random.default_rng(99), 5_000, mean=0.1)
    assert not verdicts(window, floors)["x"].drifted
    assert verdicts(rows(np.random.default_rng(99), 5_000, mean=0.5), floors)["x"].drifted


def test_a_small_window_or_reference_is_not_judged():
    found = verdicts(rows(np.random.default_rng(99), 150, mean=3.0))["x"]
    assert not found.drifted
    assert found.reason == "too little power: 150 rows in the window, 200 needed"
    small = summarise({"x": np.arange(100.0)})
    (drift,) = compare(small, summarise({"x": np.arange(500.0)}, small), Floors(blocks=0))
    assert drift.reason == "too little power: 100 rows in the reference, 200 needed"


def test_a_column_that_the_window_lacks_is_not_judged():
    window = rows(np.random.default_rng(99), 500)
    del window["x"]
    found = verdicts(window)["x"]
    assert (found.rows, found.reason) == (0, "the window has no such column")


def test_holm_multiplies_by_the_tests_that_are_left():
    reference, blocks = past()
    window = summarise(rows(np.random.default_rng(99), 5_000, mean=0.1), reference)
    together = {d.column: d for d in compare(reference, window, calibrate(blocks))}
    alone = compare(
        Profile(numbers={"x": reference.numbers["x"]}), window, Floors(blocks=0), level=0.5
    )[0]
    smallest = alone.evidence[0].p_value / 4
    assert together["x"].evidence[0].p_value == pytest.approx(smallest * 12)
    p_values = [e.p_value for d in together.values() for e in d.evidence]
    assert max(p_values) <= 1
    assert min(p_values) == together["x"].evidence[0].p_value


def test_verdicts_and_floors_survive_json():
    reference, blocks = past()
    floors = calibrate(blocks)
    found = compare(reference, blocks[0], floors)
    assert msgspec.json.decode(msgspec.json.encode(floors), type=Floors) == floors
    again = msgspec.json.decode(msgspec.json.encode(found), type=tuple[ColumnDrift, ...])
    assert again == found


EVIDENCE = (Evidence(measure="ks", p_value=0.001, effect=0.1, floor=0.01, drifted=True),)
YES = ColumnDrift(column="x", rows=500, drifted=True, evidence=EVIDENCE)
NO = ColumnDrift(column="x", rows=500, drifted=False)
UNJUDGED = ColumnDrift(column="x", rows=5, drifted=False, reason="too little power")


@pytest.mark.parametrize(
    ("history", "alarms"),
    [
        ([], False),
        ([YES], False),
        ([YES, YES], True),
        ([YES, NO, YES], True),
        ([NO, NO, YES], False),
        ([YES, YES, NO, NO], False),
        ([YES, UNJUDGED, UNJUDGED, YES], True),
    ],
)
def test_an_alarm_needs_two_of_the_last_three_judged_windows(history, alarms):
    assert bool(alarm([(verdict,) for verdict in history])) is alarms


def test_an_alarm_names_its_column_and_its_newest_finding():
    newest = ColumnDrift(column="x", rows=700, drifted=True, evidence=EVIDENCE)
    assert alarm([(YES,), (NO,), (newest,)]) == (
        Alarm(column="x", drifted=2, windows=3, latest=newest),
    )
