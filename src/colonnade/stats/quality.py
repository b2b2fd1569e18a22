"""How good scores are, and whether one model's are better than another's, with what is uncertain.

Every metric comes as a value and one *term* per row, such that the sum of the squared terms is the
value's variance (the empirical influence of each row; for AUC these are DeLong's components).
That one form gives intervals in closed form, and paired tests too: the variance of a difference
of two models on the same rows is the sum of the squared differences of their terms.

What cannot be judged (one class only, no rows, a missing label) is a result with a reason, not an
exception: a slice too small is shown.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import ArrayLike
from scipy import special, stats

from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.records.model import Task
from colonnade.stats.profile import FloatArray

_CLIP = 2.0**-24  # the resolution of a 32-bit score near 1; keeps the logarithm finite


@dataclass(frozen=True, slots=True, kw_only=True)
class Estimate:
    """A metric on some rows.

    Attributes:
        value: None where it is not defined, see `reason`.
        low: lower end of the interval.
        high: upper end of the interval.
        n: rows.
        method: how the interval was made.
        reason: why there is no value, else empty.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    method: str
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """How much better model b is than model a on the same rows; positive: b is better.

    Attributes:
        value: None where it is not defined, see `reason`.
        standard_error: of the value.
        low: one-sided lower bound.
        n: rows.
        method: how the bound was made.
        reason: why there is no value, else empty.
    """

    value: float | None
    standard_error: float | None
    low: float | None
    n: int
    method: str
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Measured:
    """A metric's value and each row's term: their squares sum to the value's variance."""

    value: float
    terms: FloatArray


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric by the name that gates, reports and pages use.

    Attributes:
        measure: from labels [n] and scores [n] ([n, c] for several classes).
        tasks: what it applies to.
        interval: name of the method.
    """

    name: str
    measure: Callable[[FloatArray, FloatArray], Measured]
    higher_is_better: bool
    tasks: tuple[Task, ...]
    interval: str = "normal"


def estimate(metric: str, y: ArrayLike, score: ArrayLike, level: float = 0.95) -> Estimate:
    """The metric with a two-sided interval.

    AUC: DeLong's variance on the logit scale (Wilson's bound with the rows of the smaller class
    where separation is perfect). Accuracy: Wilson's score interval. The others: normal, from the
    rows' terms; for a few hundred rows with heavy-tailed errors it is somewhat too narrow.

    Args:
        metric: a name in `METRICS`.
        y: labels [n]: 0 and 1, class numbers, or values.
        score: P(class 1) [n], class probabilities [n, c], or predictions [n].
        level: of the interval.

    Raises:
        UsageError: CN-STATS-003 for an unknown metric; CN-STATS-004 where labels and scores do
            not belong together.
    """
    chosen = _metric(metric)
    labels, scores = _rows(y, score)
    reason = _obstacle(chosen, labels, scores)
    if reason:
        return Estimate(
            value=None, low=None, high=None, n=len(labels), method=chosen.interval, reason=reason
        )
    measured = chosen.measure(labels, scores)
    low, high = _interval(chosen, measured, labels, level)
    return Estimate(value=measured.value, low=low, high=high, n=len(labels), method=chosen.interval)


def difference(
    metric: str, y: ArrayLike, score_a: ArrayLike, score_b: ArrayLike, level: float = 0.90
) -> Difference:
    """How much better b is than a on the same rows, with a one-sided lower bound.

    AUC: the paired test of DeLong et al. (1988). The others: the same construction with their own
    terms, a paired normal test.

    Args:
        metric: a name in `METRICS`; the sign is turned where lower is better.
        y: labels [n].
        score_a: the scores of the model that is in place.
        score_b: the scores of the one that might replace it.
        level: of the lower bound: 0.90 leaves 10 % below it.

    Raises:
        UsageError: CN-STATS-003, CN-STATS-004 as for `estimate`.
    """
    chosen = _metric(metric)
    method = "paired DeLong" if metric == "auc" else "paired normal"
    labels, first = _rows(y, score_a)
    _, second = _rows(y, score_b)
    reason = _obstacle(chosen, labels, first) or _obstacle(chosen, labels, second)
    if reason:
        return Difference(
            value=None, standard_error=None, low=None, n=len(labels), method=method, reason=reason
        )
    a, b = chosen.measure(labels, first), chosen.measure(labels, second)
    value = (b.value - a.value) * (1 if chosen.higher_is_better else -1)
    error = _norm(b.terms - a.terms)
    return Difference(
        value=value,
        standard_error=error,
        low=value - float(special.ndtri(level)) * error,
        n=len(labels),
        method=method,
    )


def _auc(y: FloatArray, score: FloatArray) -> Measured:
    """Mann-Whitney by midranks; DeLong's components by Sun and Xu's algorithm (2014)."""
    positive = y == 1
    m = int(positive.sum())
    n = len(y) - m
    ranks = stats.rankdata(score)
    wins = np.empty(len(y))  # share of the other class that a row is on the right side of
    wins[positive] = (ranks[positive] - stats.rankdata(score[positive])) / n
    wins[~positive] = 1 - (ranks[~positive] - stats.rankdata(score[~positive])) / m
    value = float(wins[positive].mean())
    spread = np.where(positive, m * (m - 1.0), n * (n - 1.0))
    return Measured(value, (wins - value) / np.sqrt(spread))


def _accuracy(y: FloatArray, score: FloatArray) -> Measured:
    chosen = score.argmax(axis=1) if score.ndim == 2 else score >= 0.5
    return _mean((chosen == y).astype(np.float64))


def _logloss(y: FloatArray, score: FloatArray) -> Measured:
    if score.ndim == 2:
        given = score[np.arange(len(y)), y.astype(np.int64)]
    else:
        given = np.where(y == 1, score, 1 - score)
    return _mean(-np.log(np.clip(given, _CLIP, 1 - _CLIP)))


def _brier(y: FloatArray, score: FloatArray) -> Measured:
    return _mean(np.square(score - y))


def _mae(y: FloatArray, score: FloatArray) -> Measured:
    return _mean(np.abs(score - y))


def _rmse(y: FloatArray, score: FloatArray) -> Measured:
    mse = _mean(np.square(score - y))
    root = float(np.sqrt(mse.value))
    return Measured(root, mse.terms / (2 * root) if root else mse.terms)


def _r2(y: FloatArray, score: FloatArray) -> Measured:
    """Of a ratio of two means, by the delta method."""
    mse, variance = _mean(np.square(score - y)), _mean(np.square(y - y.mean()))
    ratio = mse.value / variance.value
    return Measured(1 - ratio, (ratio * variance.terms - mse.terms) / variance.value)


def _mean(losses: FloatArray) -> Measured:
    n = len(losses)
    value = float(losses.mean())
    return Measured(value, (losses - value) / np.sqrt(n * (n - 1.0)))


METRICS: Mapping[str, Metric] = MappingProxyType(
    {
        metric.name: metric
        for metric in (
            Metric("auc", _auc, True, ("binary",), "DeLong, logit"),
            Metric("accuracy", _accuracy, True, ("binary", "multiclass"), "Wilson"),
            Metric("logloss", _logloss, False, ("binary", "multiclass")),
            Metric("brier", _brier, False, ("binary",)),
            Metric("rmse", _rmse, False, ("regression",)),
            Metric("mae", _mae, False, ("regression",)),
            Metric("r2", _r2, True, ("regression",)),
        )
    }
)


def _metric(name: str) -> Metric:
    if name not in METRICS:
        raise UsageError("CN-STATS-003", f"{name!r} is no metric", closest(name, METRICS))
    return METRICS[name]


def _rows(y: ArrayLike, score: ArrayLike) -> tuple[FloatArray, FloatArray]:
    labels, scores = np.asarray(y, np.float64), np.asarray(score, np.float64)
    if labels.ndim != 1 or scores.ndim not in {1, 2} or len(labels) != len(scores):
        raise UsageError(
            "CN-STATS-004",
            f"labels came in the shape {labels.shape}, scores in the shape {scores.shape}",
            "pass labels [n] and scores [n], or [n, classes], of the same rows",
        )
    return labels, scores


def _obstacle(metric: Metric, y: FloatArray, score: FloatArray) -> str:
    """Why the metric has no value with an interval on these rows, else empty."""
    if len(y) < 2:
        return f"{len(y)} rows, at least 2 needed"
    bad = int((~np.isfinite(y) | ~np.isfinite(score.reshape(len(y), -1)).all(axis=1)).sum())
    if bad:
        return f"{bad} of {len(y)} rows have no finite label or score"
    if metric.name == "r2" and np.ptp(y) == 0:
        return "all labels are equal"
    if "regression" in metric.tasks:
        return "" if score.ndim == 1 else "one prediction a row is needed"
    return _class_obstacle(metric, y, score)


def _class_obstacle(metric: Metric, y: FloatArray, score: FloatArray) -> str:
    if score.ndim == 2 and "multiclass" not in metric.tasks:
        return "one score a row is needed: it is for two classes"
    classes = score.shape[1] if score.ndim == 2 else 2
    if not np.isin(y, np.arange(classes)).all():
        return f"labels must be class numbers from 0 to {classes - 1}"
    if metric.name == "auc":
        positives = int(y.sum())
        if min(positives, len(y) - positives) < 2:
            return f"{positives} of {len(y)} rows are positive, at least 2 of each class needed"
    return ""


def _interval(
    metric: Metric, measured: Measured, y: FloatArray, level: float
) -> tuple[float, float]:
    z = float(special.ndtri((1 + level) / 2))
    value, error = measured.value, _norm(measured.terms)
    if metric.name == "accuracy":
        return _wilson(value, len(y), z)
    if metric.name == "auc":
        if not 0 < value < 1:
            return _wilson(value, int(min(y.sum(), len(y) - y.sum())), z)
        reach = z * error / (value * (1 - value))
        return float(special.expit(special.logit(value) - reach)), float(
            special.expit(special.logit(value) + reach)
        )
    low, high = value - z * error, value + z * error
    return (low, min(high, 1.0)) if metric.name == "r2" else (max(low, 0.0), high)


def _wilson(share: float, n: int, z: float) -> tuple[float, float]:
    """Wilson's score interval of a share (1927)."""
    middle = (share + z * z / (2 * n)) / (1 + z * z / n)
    reach = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return max(0.0, middle - reach), min(1.0, middle + reach)


def _norm(terms: FloatArray) -> float:
    return float(np.sqrt(np.square(terms).sum()))
