from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from colonnade.base.errors import UsageError
from colonnade.stats.distance import Cells, Contrast, contrasts, distances
from colonnade.stats.profile import Profile, summarise

RNG = np.random.default_rng


def of_numbers(reference: np.ndarray, window: np.ndarray):
    old = summarise({"x": reference})
    return old.numbers["x"], summarise({"x": window}, old).numbers["x"]


def of_words(reference: dict[str | None, int], window: dict[str | None, int]):
    old = summarise({"x": reference})
    return old.words["x"], summarise({"x": window}, old).words["x"]


def found_in(pair) -> dict[str, Contrast]:
    return {c.measure: c for c in contrasts(*map(Cells.of, pair))}


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(
    ("law", "ks", "wasserstein"),
    [
        (lambda rng, n: rng.normal(size=n), 5e-4, 5e-4),
        (lambda rng, n: 1e6 + rng.normal(size=n), 5e-4, 5e-4),
        (lambda rng, n: rng.exponential(size=n), 5e-4, 5e-4),
        (lambda rng, n: rng.lognormal(size=n), 5e-4, 1e-3),
        (lambda rng, n: rng.standard_t(3, size=n), 5e-4, 2e-3),
        # a frequent value that moves inside one bin is off by up to that bin's share
        (lambda rng, n: np.where(rng.random(n) < 0.6, 0, rng.exponential(size=n)), 1.1e-3, 5e-4),
    ],
)
def test_ks_and_wasserstein_agree_with_scipy_on_the_rows(law, ks, wasserstein, shift):
    rng = RNG(7)
    reference = law(rng, 50_000)
    window = law(rng, 20_000) + shift * reference.std()
    found = distances(*of_numbers(reference, window))
    exact = stats.wasserstein_distance(reference, window) / reference.std()
    assert found.ks == pytest.approx(stats.ks_2samp(reference, window).statistic, abs=ks)
    assert found.wasserstein == pytest.approx(exact, abs=wasserstein)


def test_distances_of_few_distinct_values_are_exact():
    rng = RNG(2)
    reference, window = rng.poisson(3, 20_000) * 1.0, rng.integers(0, 6, 5_000) * 1.0
    found = distances(*of_numbers(reference, window))
    assert found.ks == pytest.approx(stats.ks_2samp(reference, window).statistic, abs=1e-12)


def test_a_column_has_no_distance_from_itself():
    values = RNG(1).normal(size=1000)
    for pair in (of_numbers(values, values), of_words({"a": 50, "b": 20}, {"a": 50, "b": 20})):
        found = distances(*pair)
        assert (found.jensen_shannon, found.psi, found.total_variation) == (0, 0, 0)


def test_distances_of_words_by_hand():
    found = distances(*of_words({"a": 50, "b": 50}, {"a": 75, "b": 25}))
    assert found.total_variation == pytest.approx(0.25)
    assert found.psi == pytest.approx(0.25 * np.log(1.5) - 0.25 * np.log(0.5))
    assert found.jensen_shannon == pytest.approx(
        np.sqrt(stats.entropy([0.75, 0.25], [0.625, 0.375]) / 2 / np.log(2)
                + stats.entropy([0.5, 0.5], [0.625, 0.375]) / 2 / np.log(2))
    )  # fmt: skip
    assert (found.ks, found.wasserstein) == (None, None)


def test_new_words_are_a_distance():
    assert distances(*of_words({"a": 50}, {"b": 50})).total_variation == 1


def test_a_column_without_values_has_no_distance():
    assert distances(*of_numbers(np.arange(50.0), np.full(9, np.nan))) is None


def test_a_constant_column_has_no_scale_for_wasserstein():
    found = distances(*of_numbers(np.zeros(50), np.ones(50)))
    assert found.wasserstein is None
    assert found.ks == 1


def test_other_frames_are_refused():
    a, b = (summarise({"x": np.arange(n)}).numbers["x"] for n in (50.0, 60.0))
    with pytest.raises(UsageError, match="CN-STATS-001"):
        distances(a, b)


def test_the_p_values_are_scipys():
    rng = RNG(5)
    reference, window = rng.normal(size=9_000), rng.normal(0.04, 1, size=3_000)
    reference[:300] = np.nan
    window[:140] = np.nan
    found = found_in(of_numbers(reference, window))
    present = reference[300:], window[140:]
    assert found["ks"].p_value == pytest.approx(
        stats.ks_2samp(*present, method="asymp").pvalue, rel=0.1
    )
    fisher = stats.fisher_exact([[140, 2_860], [300, 8_700]], alternative="greater")
    assert found["missing"].p_value == pytest.approx(2 * fisher.pvalue)


def test_the_chi_square_of_words_is_scipys():
    found = found_in(of_words({"a": 500, "b": 300, "c": 200}, {"a": 210, "b": 180, "c": 110}))
    expected = stats.chi2_contingency([[500, 300, 200], [210, 180, 110]], correction=False)
    assert found["bins"].p_value == pytest.approx(expected.pvalue)


def test_rare_words_are_pooled_before_the_chi_square():
    rng = RNG(3)
    words, shares = [f"w{i}" for i in range(51)], [0.001] * 50 + [0.95]
    old, new = (
        dict(zip(words, rng.multinomial(n, shares).tolist(), strict=True)) for n in (25_000, 1_000)
    )
    assert found_in(of_words(old, new))["bins"].p_value > 0.05
    few: dict[str | None, int] = {"a": 5}
    assert found_in(of_words({"a": 20, "b": 10}, few))["bins"].p_value == 1


def test_one_value_suddenly_frequent_is_a_spike_inside_the_bulk():
    rng = RNG(5)
    reference, window = rng.normal(size=50_000), rng.normal(size=5_000)
    window[:50] = 0.123
    found = found_in(of_numbers(reference, window))
    assert found["spike"].p_value < 1e-12
    assert 0.005 < found["spike"].effect < 0.012
    assert found["ks"].p_value > 0.05


def test_new_words_are_found_and_a_lost_tail_too():
    reference: dict[str | None, int] = {"a": 5_000} | {f"rare{i}": 9 for i in range(50)}
    grown = found_in(of_words(reference, {"a": 900, "new": 200}))["new"]
    lost = found_in(of_words(reference, {"a": 1_000}))["new"]
    assert grown.p_value < 1e-12
    assert grown.effect == pytest.approx(0.1, abs=0.02)
    assert lost.p_value < 1e-12
    assert lost.effect == pytest.approx(0.075, abs=0.02)


def test_words_that_are_just_named_do_not_make_the_others_new():
    reference: dict[str | None, int] = {"a": 4_000} | {f"w{i}": 10 for i in range(20)}
    typical: dict[str | None, int] = {"a": 4_000} | {f"w{i}": 9 for i in range(20)}
    typical |= {"never seen": 20}
    assert found_in(of_words(reference, typical))["new"].p_value > 0.05


def test_only_missing_can_be_tested_without_values_and_nothing_without_rows():
    nothing = np.full(500, np.nan)
    assert list(found_in(of_numbers(np.arange(500.0), nothing))) == ["missing"]
    assert list(found_in(of_numbers(np.arange(500.0), np.array([])))) == []
    assert set(found_in(of_words({"a": 5}, {"b": 5}))) == {"missing", "new"}
    assert Profile().columns == {}
