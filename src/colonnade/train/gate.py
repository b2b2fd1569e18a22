"""Gates: what a fit must reach before it may become a model version, each with its evidence.

A gate judges scores of the exported model on rows that it has not seen. One that cannot be judged
says why and does not pass, but for two cases: there is no champion yet, and a slice too small.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final, cast

import msgspec
import numpy as np
import polars as pl

from colonnade.bundle.predict import Predictor
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.records.condition import METRICS, Comparison, compare
from colonnade.records.run import Verdict
from colonnade.stats import quality
from colonnade.train.build import Labels, Matrix

MIN_SLICE: Final = 200
LEVEL: Final = 0.90
_TIMED_ROWS: Final = 300
_WARM_UP: Final = 20

Scores = Matrix


@dataclass(frozen=True, slots=True)
class Trial:
    """A candidate on the rows that judge it.

    Attributes:
        rows: the newest rows, raw.
        y: their labels.
        scores: of the candidate.
        champion: scores of the champion on the same rows, None where there are none.
        champion_version: ``name@version``; None where nothing is live yet.
        unjudged: why the champion has no scores although there is one, else empty.
    """

    predictor: Predictor
    rows: pl.DataFrame
    y: Labels
    scores: Scores
    size_bytes: int
    champion: Scores | None
    champion_version: str | None
    unjudged: str = ""


def judge(gate: Comparison, trial: Trial) -> Verdict:
    """Judge one gate."""
    if gate.value is None:
        return _against_champion(gate, trial)
    if not METRICS[gate.metric].of_rows:
        return _on_serving_path(gate, trial)
    if gate.by is not None:
        return _by_slice(gate, trial, gate.by)
    found = quality.estimate(gate.metric, trial.y, trial.scores)
    if found.value is None:
        return _verdict(gate, False, None, gate.value, found, found.reason)
    passed = compare(found.value, gate.op, gate.value)
    reason = f"{gate.metric} {found.value:.4f} on {found.n} held-out rows"
    return _verdict(gate, passed, found.value, gate.value, found, reason)


def _against_champion(gate: Comparison, trial: Trial) -> Verdict:
    if trial.champion_version is None:
        reason = "there is no champion yet: the first model passes"
        return _verdict(gate, True, None, None, {}, reason)
    if trial.champion is None:
        return _verdict(gate, False, None, None, {}, trial.unjudged)
    if gate.by is not None:
        return _verdict(gate, False, None, None, {}, "a slice is not compared with a champion")
    theirs = quality.estimate(gate.metric, trial.y, trial.champion)
    ours = quality.estimate(gate.metric, trial.y, trial.scores)
    found = quality.difference(gate.metric, trial.y, trial.champion, trial.scores, LEVEL)
    if found.low is None or found.value is None or ours.value is None or theirs.value is None:
        return _verdict(gate, False, ours.value, theirs.value, found, found.reason)
    passed = found.low > 0
    reason = (
        f"{gate.metric} {ours.value:.4f} against {theirs.value:.4f} of {trial.champion_version} on "
        f"the same {found.n} rows: better by {found.value:+.4f}, {LEVEL:.0%} lower bound "
        f"{found.low:+.4f}"
    )
    return _verdict(gate, passed, ours.value, theirs.value, found, reason)


def _by_slice(gate: Comparison, trial: Trial, column: str) -> Verdict:
    """Every slice of at least `MIN_SLICE` rows must pass; smaller ones are shown."""
    bound = cast("float", gate.value)
    slices: list[Json] = []
    sign = 1 if METRICS[gate.metric].better == "higher" else -1
    worst: tuple[float, str] | None = None
    failed, judged = [], 0
    keys = trial.rows[column].cast(pl.String).fill_null("(missing)")
    for word in keys.unique().sort():
        where = (keys == word).to_numpy()
        found = quality.estimate(gate.metric, trial.y[where], trial.scores[where])
        large = found.value is not None and found.n >= MIN_SLICE
        slices.append({"slice": word, "judged": large, "estimate": canonical.plain(found)})
        if found.value is None or not large:
            continue
        judged += 1
        passed = compare(found.value, gate.op, bound)
        failed += [] if passed else [f"{word} {found.value:.4f}"]
        worst = min(filter(None, [worst, (sign * found.value, word)]))
    if worst is None:
        reason = f"no slice by {column} has {MIN_SLICE} rows with both classes: shown, not judged"
        return _verdict(gate, None, None, bound, {"slices": slices}, reason)
    reason = f"{judged} of {len(slices)} slices by {column} judged, the worst is {worst[1]}"
    reason += f"; failed: {', '.join(failed)}" if failed else ""
    return _verdict(gate, not failed, sign * worst[0], bound, {"slices": slices}, reason)


def _on_serving_path(gate: Comparison, trial: Trial) -> Verdict:
    bound = cast("float", gate.value)
    value, evidence = _SERVING[gate.metric](trial)
    passed = compare(value, gate.op, bound)
    return _verdict(gate, passed, value, bound, evidence, f"{gate.metric} is {value:.3f}")


def _p99_ms(trial: Trial) -> tuple[float, dict[str, Json]]:
    """Single rows through decode and score, as the endpoint does it, without the network."""
    features = [feature.name for feature in trial.predictor.signature.features]
    rows = trial.rows.select(features).head(_TIMED_ROWS).to_dicts()
    took = []
    for row in rows[:_WARM_UP] + rows:
        body = msgspec.json.encode({"rows": [row]})
        start = time.perf_counter()
        trial.predictor.predict_rows(trial.predictor.decode(body))
        took.append((time.perf_counter() - start) * 1e3)
    took_ms = np.array(took[_WARM_UP:])
    value = float(np.quantile(took_ms, 0.99))
    return value, {"median_ms": float(np.median(took_ms)), "requests": len(took_ms)}


def _size_mb(trial: Trial) -> tuple[float, dict[str, Json]]:
    return trial.size_bytes / 1e6, {"bytes": trial.size_bytes}


_SERVING: Final[Mapping[str, Callable[[Trial], tuple[float, dict[str, Json]]]]] = {
    "p99_ms": _p99_ms,
    "size_mb": _size_mb,
}


def _verdict(
    gate: Comparison,
    passed: bool | None,
    value: float | None,
    bound: float | None,
    evidence: object,
    reason: str,
) -> Verdict:
    return Verdict(
        gate=str(gate),
        passed=passed,
        value=value,
        bound=bound,
        evidence=cast("dict[str, Json]", canonical.plain(evidence)),
        reason=reason,
    )
