from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.stats.quality import METRICS, difference, estimate

labels = st.lists(st.integers(0, 1), min_size=2, max_size=40)


@settings(deadline=None)
@given(labels, st.sampled_from(["auc", "accuracy", "logloss", "brier"]), st.integers(0, 2**32))
def test_an_interval_holds_its_value_or_a_reason_stands_there(y, metric, seed):
    score = np.random.default_rng(seed).integers(0, 5, len(y)) / 4
    found = estimate(metric, y, score)
    if found.value is None:
        assert found.reason
    else:
        assert 0 <= found.low <= found.value <= found.high + 1e-12


@settings(deadline=None)
@given(labels, st.integers(0, 2**32))
def test_auc_depends_on_the_order_of_scores_only(y, seed):
    score = np.random.default_rng(seed).integers(0, 9, len(y)) / 8
    assert estimate("auc", y, score) == estimate("auc", y, np.exp(score) - 7)


@settings(deadline=None)
@given(labels, st.integers(0, 2**32))
def test_auc_of_turned_scores_is_the_rest(y, seed):
    score = np.random.default_rng(seed).normal(size=len(y))
    there, back = estimate("auc", y, score), estimate("auc", y, -score)
    if there.value is not None:
        assert there.value + back.value == pytest.approx(1)


@pytest.mark.parametrize("name", list(METRICS))
def test_intervals_cover_the_truth_and_bounds_rarely_exceed_it(name):
    """400 samples of 300 rows against the value on a million."""
    rng = np.random.default_rng(11)
    truth = METRICS[name].measure(*sample(rng, name, 1_000_000)[:2]).value
    covered = false_wins = 0
    for _ in range(400):
        y, score, twin = sample(rng, name, 300)
        found = estimate(name, y, score)
        covered += found.low <= truth <= found.high
        false_wins += difference(name, y, score, twin).low > 0
    assert 0.915 <= covered / 400 <= 0.98
    assert 0.06 <= false_wins / 400 <= 0.145


def sample(rng: np.random.Generator, name: str, n: int) -> tuple[np.ndarray, ...]:
    """Labels and two equally good scores."""
    if "regression" in METRICS[name].tasks:
        y = rng.normal(size=n)
        return y, y + rng.normal(0, 0.7, n), y + rng.normal(0, 0.7, n)
    y = (rng.random(n) < 0.3).astype(float)
    return y, *(1 / (1 + np.exp(1 - 1.2 * y - rng.normal(size=n))) for _ in range(2))
