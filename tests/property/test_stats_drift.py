from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from colonnade.stats.drift import ColumnDrift, Floors, alarm, calibrate, compare
from colonnade.stats.profile import Profile, merge_all, summarise

WORDS = [f"w{i}" for i in range(200)]
ZIPF = 1 / np.arange(1, 201)


def rows(rng: np.random.Generator, n: int) -> dict:
    words = rng.multinomial(n, ZIPF / ZIPF.sum()).tolist()
    return {
        "normal": rng.normal(size=n),
        "cauchy": rng.standard_cauchy(n),
        "lognormal": rng.lognormal(0, 2, n),
        "zero inflated": np.where(rng.random(n) < 0.6, 0.0, rng.exponential(size=n)),
        "rounded": np.round(rng.normal(size=n), 1),
        "rare flag": (rng.random(n) < 0.002) * 1.0,
        "count": rng.poisson(3, n) * 1.0,
        "gaps": np.where(rng.random(n) < 0.05, np.nan, rng.normal(size=n)),
        "words": dict(zip(WORDS, words, strict=True)),
    }


def history(rng: np.random.Generator, n: int) -> tuple[Profile, Floors]:
    parts = [rows(rng, n) for _ in range(8)]
    whole = {
        name: {word: sum(part[name][word] for part in parts) for word in WORDS}
        if name == "words"
        else np.concatenate([part[name] for part in parts])
        for name in parts[0]
    }
    reference = summarise(whole)
    blocks = [summarise(part, reference) for part in parts]
    assert merge_all(blocks) == reference
    return reference, calibrate(blocks)


@pytest.mark.parametrize("n", [500, 3_000])
def test_without_drift_hardly_a_window_finds_anything(n):
    rng = np.random.default_rng(n)
    findings = 0
    for _ in range(5):
        reference, floors = history(rng, n)
        windows = [compare(reference, summarise(rows(rng, n), reference), floors) for _ in range(8)]
        findings += sum(any(v.drifted for v in window) for window in windows)
        assert not alarm(windows)
    assert findings <= 2  # of 80 windows in both cases; expected is under one


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 2**32), st.sampled_from([250, 1_000]))
def test_p_values_effects_and_verdicts_agree(seed, n):
    rng = np.random.default_rng(seed)
    reference = summarise(rows(rng, 1_000))
    window = summarise({k: v for k, v in rows(rng, n).items() if rng.random() < 0.7}, reference)
    verdicts = compare(reference, window, Floors(blocks=0, columns={"normal": {"ks": 0.0}}), 0.5)
    assert [v.column for v in verdicts] == list(reference.columns)
    for verdict in verdicts:
        check(verdict)


def check(verdict: ColumnDrift) -> None:
    assert bool(verdict.reason) is not bool(verdict.evidence)
    assert verdict.drifted is any(e.drifted for e in verdict.evidence)
    for evidence in verdict.evidence:
        assert 0 <= evidence.p_value <= 1
        assert 0 <= evidence.effect <= 1
        assert evidence.drifted is (evidence.p_value <= 0.5 and evidence.effect > evidence.floor)
