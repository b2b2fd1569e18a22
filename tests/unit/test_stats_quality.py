from __future__ import annotations

import msgspec
import numpy as np
import pytest
from sklearn import metrics

from colonnade.base.errors import UsageError
from colonnade.stats.quality import METRICS, Difference, Estimate, difference, estimate


def binary(seed: int, n: int = 400, step: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < 0.3).astype(int)
    score = 1 / (1 + np.exp(1 - 1.2 * y - rng.normal(size=n)))
    return y, np.round(score / step) * step if step else score


def regression(seed: int, n: int = 400) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    y = rng.gamma(4, size=n)
    return y, y + rng.normal(0, 0.5, n)


def brute_delong(y: np.ndarray, score: np.ndarray) -> tuple[float, np.ndarray, np.ndarray]:
    """Every pair of a positive and a negative row."""
    wins = np.sign(score[y == 1][:, None] - score[y == 0][None, :]) / 2 + 0.5
    return wins.mean(), wins.mean(axis=1), wins.mean(axis=0)


@pytest.mark.parametrize("step", [0.0, 0.1])
def test_auc_is_scikit_learns_ties_included(step):
    y, score = binary(1, step=step)
    assert estimate("auc", y, score).value == pytest.approx(metrics.roc_auc_score(y, score))


@pytest.mark.parametrize("step", [0.0, 0.2])
def test_the_variance_of_auc_is_delongs_over_all_pairs(step):
    y, score = binary(2, n=60, step=step)
    value, positives, negatives = brute_delong(y, score)
    error = np.sqrt(positives.var(ddof=1) / y.sum() + negatives.var(ddof=1) / (1 - y).sum())
    found = estimate("auc", y, score)
    logit = np.log(value / (1 - value))
    reach = 1.959964 * error / value / (1 - value)
    assert found.low == pytest.approx(1 / (1 + np.exp(reach - logit)))
    assert found.high == pytest.approx(1 / (1 + np.exp(-reach - logit)))


def test_the_paired_variance_is_delongs_over_all_pairs():
    y, a = binary(3, n=60, step=0.1)
    b = np.clip(a + 0.3 * np.random.default_rng(1).normal(size=60), 0, 1)
    (auc_a, pos_a, neg_a), (auc_b, pos_b, neg_b) = brute_delong(y, a), brute_delong(y, b)
    m, n = y.sum(), (1 - y).sum()
    variance = (pos_b - pos_a).var(ddof=1) / m + (neg_b - neg_a).var(ddof=1) / n
    found = difference("auc", y, a, b)
    assert found.value == pytest.approx(auc_b - auc_a)
    assert found.standard_error == pytest.approx(np.sqrt(variance))
    assert found.low == pytest.approx(auc_b - auc_a - 1.281552 * np.sqrt(variance))


def test_perfect_separation_has_an_open_interval_and_constant_scores_none():
    y = np.repeat([0, 1], [30, 10])
    perfect = estimate("auc", y, y)
    assert (perfect.value, perfect.high) == pytest.approx((1, 1))
    assert perfect.low == pytest.approx(10 / (10 + 1.959964**2))
    assert estimate("auc", y, 1 - y).value == 0
    constant = estimate("auc", y, np.full(40, 0.5))
    assert (constant.value, constant.low, constant.high) == pytest.approx((0.5, 0.5, 0.5))


def test_binary_metrics_are_scikit_learns():
    y, score = binary(4)
    expected = {
        "logloss": metrics.log_loss(y, score),
        "brier": metrics.brier_score_loss(y, score),
        "accuracy": metrics.accuracy_score(y, score >= 0.5),
    }
    for name, value in expected.items():
        assert estimate(name, y, score).value == pytest.approx(value)


def test_regression_metrics_are_scikit_learns():
    y, prediction = regression(4)
    expected = {
        "rmse": metrics.root_mean_squared_error(y, prediction),
        "mae": metrics.mean_absolute_error(y, prediction),
        "r2": metrics.r2_score(y, prediction),
    }
    for name, value in expected.items():
        assert estimate(name, y, prediction).value == pytest.approx(value)


def test_metrics_of_several_classes_are_scikit_learns():
    rng = np.random.default_rng(5)
    probabilities = rng.dirichlet([1, 1, 1], size=300)
    y = np.array([rng.choice(3, p=p) for p in probabilities])
    logloss = estimate("logloss", y, probabilities)
    assert logloss.value == pytest.approx(metrics.log_loss(y, probabilities))
    accuracy = metrics.accuracy_score(y, probabilities.argmax(axis=1))
    assert estimate("accuracy", y, probabilities).value == pytest.approx(accuracy)


@pytest.mark.parametrize("name", ["auc", "logloss", "brier", "rmse", "mae", "r2"])
def test_the_standard_error_is_the_bootstraps(name):
    y, score = binary(6) if "binary" in METRICS[name].tasks else regression(6)
    rng = np.random.default_rng(1)
    drawn = [rng.integers(0, len(y), len(y)) for _ in range(300)]
    spread = np.std([METRICS[name].measure(y[i], score[i]).value for i in drawn])
    terms = METRICS[name].measure(y, score).terms
    assert np.sqrt((terms**2).sum()) == pytest.approx(spread, rel=0.2)


@pytest.mark.parametrize("name", list(METRICS))
def test_better_scores_make_a_positive_difference_whatever_the_direction(name):
    y, worse = binary(7) if "binary" in METRICS[name].tasks else regression(7)
    better = 0.7 * worse + 0.3 * y
    found = difference(name, y, worse, better)
    assert found.value > found.low > 0
    back = difference(name, y, better, worse)
    assert back.value == pytest.approx(-found.value)
    assert back.low < 0


def test_equal_scores_are_not_better():
    y, score = binary(8)
    found = difference("auc", y, score, score)
    assert (found.value, found.standard_error, found.low) == (0, 0, 0)


def test_wilsons_interval_of_accuracy():
    y = np.array([1] * 100)
    found = estimate("accuracy", y, np.repeat([1.0, 0.0], [90, 10]))
    assert (found.low, found.high) == pytest.approx((0.82563, 0.94477), abs=1e-5)
    assert found.method == "Wilson"


def test_sure_and_wrong_is_a_finite_logloss():
    assert estimate("logloss", [1, 0], [0.0, 1.0]).value == pytest.approx(24 * np.log(2))


def test_perfect_predictions_have_no_error():
    found = estimate("rmse", [1.0, 2.0, 3.0], [1.0, 2.0, 3.0])
    assert (found.value, found.low, found.high) == (0, 0, 0)


@pytest.mark.parametrize(
    ("metric", "y", "score", "reason"),
    [
        ("auc", [], [], "0 rows, at least 2 needed"),
        ("mae", [1.0], [1.0], "1 rows, at least 2 needed"),
        ("auc", [1, 1, 1], [0.1, 0.2, 0.3], "3 of 3 rows are positive"),
        ("auc", [0, 0, 1], [0.1, 0.2, 0.3], "1 of 3 rows are positive"),
        ("auc", [0, 1, np.nan], [0.1, 0.2, 0.3], "1 of 3 rows have no finite label or score"),
        ("rmse", [0, 1, 2], [0.1, np.inf, np.nan], "2 of 3 rows have no finite label or score"),
        ("brier", [0, 1, 2], [0.1, 0.2, 0.3], "labels must be class numbers from 0 to 1"),
        ("logloss", [0, 3], [[0.5, 0.5], [0.5, 0.5]], "class numbers from 0 to 1"),
        ("auc", [0, 1], [[0.5, 0.5], [0.5, 0.5]], "one score a row is needed"),
        ("mae", [0, 1], [[0.5, 0.5], [0.5, 0.5]], "one prediction a row is needed"),
        ("r2", [2.0, 2.0, 2.0], [1.0, 2.0, 3.0], "all labels are equal"),
    ],
)
def test_what_cannot_be_judged_says_why(metric, y, score, reason):
    found = estimate(metric, y, score)
    assert (found.value, found.low, found.high, found.n) == (None, None, None, len(y))
    assert reason in found.reason
    pair = difference(metric, y, score, score)
    assert (pair.value, pair.low, pair.reason) == (None, None, found.reason)


def test_an_unknown_metric_is_refused_with_a_hint():
    with pytest.raises(UsageError, match=r"CN-STATS-003: 'acu' is no metric\n.*did you mean 'auc'"):
        estimate("acu", [0, 1], [0, 1])


def test_labels_and_scores_of_different_rows_are_refused():
    with pytest.raises(UsageError, match=r"CN-STATS-004: labels came in the shape \(2,\)"):
        estimate("auc", [0, 1], [0, 1, 1])


def test_results_survive_json():
    y, score = binary(9)
    one, two = estimate("auc", y, score), difference("auc", y, score, score**2)
    assert msgspec.json.decode(msgspec.json.encode(one), type=Estimate) == one
    assert msgspec.json.decode(msgspec.json.encode(two), type=Difference) == two
