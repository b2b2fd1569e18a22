from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier

from colonnade.bundle.export import to_onnx
from colonnade.bundle.load import onnxruntime
from colonnade.bundle.trees import floor32
from colonnade.records.model import Feature, Signature

singles = st.floats(width=32, allow_nan=False)
doubles = st.floats(allow_nan=False)


@st.composite
def near(draw: st.DrawFn) -> tuple[float, float]:
    """A single-precision value and a double that is close to it."""
    value = draw(st.floats(-(2.0**126), 2.0**126, width=32))
    share = draw(st.floats(-1, 1))
    step = float(np.spacing(np.float32(value)))
    return value, value + share * step


@given(singles, doubles)
def test_a_threshold_rounded_down_splits_every_single_alike(x: float, threshold: float) -> None:
    assert (np.float32(x) <= floor32([threshold])[0]) == (x <= threshold)


@given(near())
def test_a_threshold_between_two_neighbours_splits_them_alike(pair: tuple[float, float]) -> None:
    x, threshold = pair
    assert (np.float32(x) <= floor32([threshold])[0]) == (x <= threshold)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 2**32 - 1), st.floats(1, 2**20, width=32))
def test_lightgbm_and_its_export_agree_on_neighbouring_values(seed: int, start: float) -> None:
    random = np.random.default_rng(seed)
    ladder = np.nextafter(np.float32(start), np.float32(np.inf)) * np.ones(8, np.float32)
    for i in range(1, len(ladder)):
        ladder[i] = np.nextafter(ladder[i - 1], np.float32(np.inf))
    x = random.choice(ladder, size=(80, 2))
    y = (x[:, 0] > ladder[3]) ^ (random.random(len(x)) < 0.1)
    y[:2] = [False, True]
    model = LGBMClassifier(n_estimators=5, n_jobs=1, verbose=-1, min_child_samples=2)
    model.fit(x, y)
    features = (Feature(name="a", kind="number"), Feature(name="b", kind="number"))
    signature = Signature(features=features, task="binary", classes=("false", "true"))
    session = onnxruntime.InferenceSession(to_onnx(model, signature))
    exported = session.run(["score"], {"numbers": x})[0]
    native = model.booster_.predict(x, num_threads=1)
    assert np.abs(exported - native).max() < 1e-6
