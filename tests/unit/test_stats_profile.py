from __future__ import annotations

from collections import Counter

import msgspec
import numpy as np
import pytest

from colonnade.base.errors import UsageError
from colonnade.stats.profile import (
    MAX_BINS,
    MAX_WORDS,
    MIN_ROWS,
    NumberProfile,
    Profile,
    merge,
    merge_all,
    summarise,
)


def number(values: object, reference: Profile | None = None) -> NumberProfile:
    return summarise({"x": np.asarray(values)}, reference).numbers["x"]


def test_bins_hold_equal_shares_and_finer_ones_in_the_tails():
    values = np.random.default_rng(1).normal(size=100_000)
    profile = number(values)
    counts = np.array(profile.counts)
    assert len(profile.edges.values) <= MAX_BINS
    assert counts[20:-20].min() == counts[20:-20].max() == 105
    assert counts[1] == MIN_ROWS <= counts[-3] < 2 * MIN_ROWS
    assert counts.sum() == len(values)


def test_a_bin_is_open_below_and_closed_above():
    profile = number([1.0] * 30 + [2.0] * 30)
    below, *values = profile.edges.values
    assert values == [1.0, 2.0]
    assert below == np.nextafter(1.0, 0.0)
    assert profile.counts == (0, 30, 30, 0)


def test_few_distinct_values_each_have_a_bin():
    values = np.repeat(np.arange(1000.0), 20)
    assert set(np.arange(1000.0)) <= set(number(values).edges.values)


def test_no_edge_stands_for_fewer_than_ten_rows():
    profile = number(np.array([0.0] * 500 + [3.0] * 4 + [4.0] * 5 + [5.0] * 3))
    assert profile.edges.values[1:] == (0.0, 5.0)
    assert number(np.arange(9.0)).edges.values == ()


def test_a_frequent_value_has_its_bin_although_rare_ones_lie_below():
    profile = number([-3.0, -2.0, -1.0] + [0.0] * 1000)
    assert profile.counts == (3, 1000, 0)


def test_a_constant_shows_what_falls_below_and_above_it():
    reference = summarise({"x": np.zeros(500)})
    assert number([-1.0, 0.0, 0.0, 1.0], reference).counts == (1, 2, 1)


def test_sums_give_the_mean():
    values = 1e6 + np.random.default_rng(1).normal(size=20_000)
    assert number(values).mean == pytest.approx(values.mean(), rel=1e-12)
    assert number([np.nan]).mean is None


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e200])
def test_what_is_no_usable_number_counts_as_missing(value):
    profile = number([1.0, value])
    assert (profile.missing, profile.rows, profile.low, profile.high) == (1, 2, 1.0, 1.0)


@pytest.mark.parametrize("dtype", [np.int8, np.uint64, np.bool_, np.float32])
def test_integers_and_flags_are_numbers(dtype):
    profile = number(np.array([0, 1] * 50, dtype))
    assert profile.counts == (0, 50, 50, 0)


def test_no_rows_at_all_are_a_profile():
    assert number([]).counts == (0,)
    assert Profile().rows == 0


def test_words_are_named_by_frequency_and_the_rare_ones_are_not():
    profile = summarise({"c": {"b": 10, "a": 10, "z": 500, "rare": 9, None: 3, "": 2}}).words["c"]
    assert profile.words == ("z", "a", "b")
    assert profile.counts == (500, 10, 10)
    assert (profile.other, profile.missing, profile.rows) == (9, 5, 534)


def test_at_most_two_hundred_words_are_named():
    profile = summarise({"c": {f"w{i:03}": 1000 - i for i in range(300)}}).words["c"]
    assert len(profile.words) == MAX_WORDS
    assert profile.other == sum(1000 - i for i in range(200, 300))


def test_a_window_counts_new_words_as_other():
    reference = summarise({"c": Counter(["a"] * 20)})
    window = summarise({"c": Counter(["a", "new", "new", None])}, reference).words["c"]
    assert (window.counts, window.other, window.missing) == ((1,), 2, 1)


def test_batches_against_the_first_batch_make_the_whole():
    values = np.random.default_rng(3).lognormal(size=30_000)
    reference = summarise({"x": values})
    parts = [summarise({"x": part}, reference) for part in np.array_split(values, 7)]
    assert merge_all(parts) == reference


def test_a_profile_survives_json():
    rng = np.random.default_rng(1)
    profile = summarise(
        {"x": rng.standard_cauchy(5000), "f": rng.random(5000) < 0.1, "c": {"a": 50, None: 1}}
    )
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile
    assert profile.rows == 5000


def test_counts_of_any_integer_type_survive_json():
    profile = summarise({"c": {"a": np.uint32(50), None: np.uint32(1)}})
    assert msgspec.json.decode(msgspec.json.encode(profile), type=Profile) == profile


def test_a_column_that_the_reference_lacks_is_refused():
    reference = summarise({"x": np.arange(50.0)})
    with pytest.raises(UsageError, match=r"CN-STATS-001: the reference has no column 'y'"):
        summarise({"y": np.arange(50.0)}, reference)
    with pytest.raises(UsageError, match="of this kind"):
        summarise({"x": {"a": 1}}, reference)


@pytest.mark.parametrize(
    "other",
    [
        {"x": np.arange(99.0), "c": {"a": 20}},
        {"x": np.arange(50.0), "c": {"b": 20}},
        {"x": {"a": 20}, "c": {"a": 20}},
        {"x": np.arange(50.0)},
    ],
)
def test_different_frames_do_not_merge(other):
    one = summarise({"x": np.arange(50.0), "c": {"a": 20}})
    with pytest.raises(UsageError, match="CN-STATS-001"):
        merge(one, summarise(other))


@pytest.mark.parametrize("column", [np.array(["a"]), np.zeros((2, 2)), np.array([None])])
def test_an_array_that_is_no_list_of_numbers_is_refused(column):
    with pytest.raises(UsageError, match="CN-STATS-002: column 'x' came as"):
        summarise({"x": column})
