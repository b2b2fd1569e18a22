from __future__ import annotations

from functools import cache

import numpy as np
import polars as pl
import pytest

from colonnade.bundle.load import open_bundle
from colonnade.bundle.manifest import seal
from colonnade.bundle.predict import Predictor
from colonnade.records.condition import parse_gate
from colonnade.records.model import Feature, Manifest, Signature
from colonnade.records.run import Verdict
from colonnade.train.gate import MIN_SLICE, Trial, judge

SIGNATURE = Signature(
    features=(Feature(name="x", kind="number"), Feature(name="w", kind="category")),
    task="binary",
    classes=("false", "true"),
)


class Signer:
    def __init__(self) -> None:
        from cryptography.hazmat.primitives.asymmetric.ed25519 import (  # noqa: PLC0415
            Ed25519PrivateKey,
        )

        self.key = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))

    def sign(self, data: bytes) -> tuple[str, bytes]:
        return "k", self.key.sign(data)


@cache
def predictor() -> Predictor:
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - slow to import

    from colonnade.bundle.export import to_onnx  # noqa: PLC0415

    x = np.array([[0, 0], [1, 0], [0, 0], [1, 0]], dtype=np.float32)
    onnx = to_onnx(LogisticRegression().fit(x, [0, 1, 0, 1]), SIGNATURE)
    manifest = Manifest(name="m", version=1, run="r", made_at="2013", signature=SIGNATURE, files={})
    signer = Signer()
    files = seal(manifest, {"model.onnx": onnx}, signer)
    return open_bundle(files, {"k": signer.key.public_key().public_bytes_raw()})


def scored(n: int, skill: float, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Labels, and scores that know them the better the larger `skill` is."""
    random = np.random.default_rng(seed)
    y = (random.random(n) < 0.4).astype(float)
    return y, 1 / (1 + np.exp(-(random.normal(0, 1, n) + skill * (2 * y - 1))))


def trial(skill: float = 1.0, n: int = 1000, words: list[str] | None = None, **changes) -> Trial:
    y, scores = scored(n, skill)
    rows = pl.DataFrame({"x": np.zeros(n), "w": words or ["a"] * n})
    settings = {"champion": None, "champion_version": None, **changes}
    return Trial(
        predictor=predictor(), rows=rows, y=y, scores=scores, size_bytes=2_000_000, **settings
    )


def verdict(gate: str, of: Trial) -> Verdict:
    return judge(parse_gate(gate), of)


@pytest.mark.parametrize(
    ("gate", "passed"),
    [
        ("auc >= 0.60", True),
        ("auc >= 0.99", False),
        ("accuracy > 0.5", True),
        ("logloss <= 0.7", True),
        ("logloss < 0.01", False),
        ("brier <= 0.25", True),
        ("size_mb <= 2", True),
        ("size_mb < 2", False),
        ("p99_ms <= 10000", True),
        ("p99_ms <= 0", False),
    ],
)
def test_a_gate_passes_or_fails_by_its_number(gate, passed):
    found = verdict(gate, trial())
    assert found.passed is passed
    assert found.bound == parse_gate(gate).value
    assert found.value is not None
    assert found.gate == str(parse_gate(gate))
    assert found.reason


def test_the_evidence_of_a_number_is_its_interval():
    found = verdict("auc >= 0.60", trial())
    assert found.evidence["low"] < found.value < found.evidence["high"]
    assert found.evidence["n"] == 1000


def test_what_cannot_be_judged_does_not_pass_and_says_why():
    one = trial()
    one.y[:] = 1
    found = verdict("auc >= 0.60", one)
    assert (found.passed, found.value) == (False, None)
    assert "1000 of 1000 rows are positive" in found.reason


def test_the_serving_path_is_timed_row_by_row():
    found = verdict("p99_ms <= 10000", trial(n=50))
    assert found.evidence["requests"] == 50
    assert 0 < found.evidence["median_ms"] <= found.value


def test_without_a_champion_the_first_model_passes_and_says_so():
    found = verdict("auc > champion", trial())
    assert found.passed is True
    assert found.reason == "there is no champion yet: the first model passes"


@pytest.mark.parametrize(
    ("metric", "ours", "theirs", "passed"),
    [
        ("auc", 1.5, 0.5, True),
        ("auc", 0.5, 1.5, False),
        ("auc", 1.0, 1.0, False),
        ("logloss", 1.5, 0.5, True),
        ("logloss", 0.5, 1.5, False),
    ],
)
def test_a_planted_champion_is_beaten_only_by_a_better_model(metric, ours, theirs, passed):
    y, rival = scored(1000, theirs)
    mine = trial(ours, champion=rival, champion_version="m@1")
    np.testing.assert_array_equal(y, mine.y)
    op = ">" if metric == "auc" else "<"
    found = verdict(f"{metric} {op} champion", mine)
    assert found.passed is passed
    assert found.bound is not None
    assert "of m@1 on the same 1000 rows" in found.reason
    assert (found.evidence["low"] > 0) is passed


def test_a_lead_that_may_be_chance_does_not_pass():
    _, mine = scored(60, 1.0)
    y, theirs = scored(60, 1.0)
    theirs = theirs + np.random.default_rng(3).normal(0, 0.01, 60)
    found = judge(
        parse_gate("auc > champion"),
        Trial(
            predictor=predictor(),
            rows=pl.DataFrame({"x": np.zeros(60)}),
            y=y,
            scores=mine,
            size_bytes=1,
            champion=theirs,
            champion_version="m@1",
        ),
    )
    assert found.passed is False
    assert found.evidence["low"] <= 0


def test_a_champion_that_cannot_be_compared_does_not_pass_and_says_why():
    found = verdict("auc > champion", trial(champion_version="m@1", unjudged="no time"))
    assert (found.passed, found.reason) == (False, "no time")


def slices(**rows: int) -> list[str]:
    return [word for word, count in rows.items() for _ in range(count)]


def test_every_large_slice_must_pass_and_small_ones_are_shown():
    words = slices(a=600, b=MIN_SLICE, c=MIN_SLICE - 1, d=1)
    found = verdict("auc >= 0.6 by w", trial(n=1000, words=words))
    assert found.passed is True
    judged = {part["slice"]: part["judged"] for part in found.evidence["slices"]}
    assert judged == {"a": True, "b": True, "c": False, "d": False}
    assert found.reason.startswith("2 of 4 slices by w judged, the worst is ")


def test_one_slice_that_fails_fails_the_gate_and_is_named():
    of = trial(n=1000, words=slices(good=600, bad=400))
    of.scores[600:] = np.random.default_rng(1).random(400)
    found = verdict("auc >= 0.7 by w", of)
    assert found.passed is False
    assert "the worst is bad; failed: bad 0." in found.reason
    assert found.value < 0.7


def test_slices_that_are_all_small_are_shown_and_stand_in_nobodys_way():
    found = verdict("auc >= 0.99 by w", trial(n=300, words=slices(a=150, b=150)))
    assert (found.passed, found.value) == (None, None)
    assert found.reason == "no slice by w has 200 rows with both classes: shown, not judged"


def test_missing_words_are_a_slice_of_their_own():
    found = verdict("auc >= 0.6 by w", trial(n=600, words=[*slices(a=300), *([None] * 300)]))
    assert [part["slice"] for part in found.evidence["slices"]] == ["(missing)", "a"]


def test_the_worst_slice_of_an_error_is_the_largest_and_keeps_its_sign():
    of = trial(n=600, words=slices(good=300, bad=300))
    of.y[:] = np.random.default_rng(2).normal(0, 1, 600)
    of.scores[:300] = of.y[:300] + 0.1
    of.scores[300:] = of.y[300:] + 3.0
    assert verdict("rmse <= 1 by w", of).value == pytest.approx(3.0)
    worst = verdict("r2 >= 0.5 by w", of)
    assert worst.value < -5
    assert worst.passed is False
