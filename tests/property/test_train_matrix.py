"""What the estimator learns from is what the exported graph makes of raw rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given, settings
from hypothesis import strategies as st
from lightgbm import LGBMClassifier

from colonnade.bundle.export import native_scores, to_onnx
from colonnade.bundle.load import open_bundle
from colonnade.bundle.manifest import seal
from colonnade.project import Project
from colonnade.records.model import Manifest
from colonnade.train import rival
from colonnade.train.build import Snapshot, TrainingSet, matrix, signature

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KINDS = {
    "number": st.none() | st.floats(-1e6, 1e6, width=32),
    "integer": st.none() | st.integers(-(2**24), 2**24),
    "flag": st.none() | st.booleans(),
    "category": st.none() | st.sampled_from(["", "a", "b", "ü", "a b", "NA", "B"]),
}
TYPES = {"number": pl.Float64, "integer": pl.Int64, "flag": pl.Boolean, "category": pl.String}


class Signer:
    def sign(self, data: bytes) -> tuple[str, bytes]:
        return "k", KEY.sign(data)


@st.composite
def frames(draw) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Rows to learn from, and rows that come later with words that were not seen."""
    kinds = draw(st.lists(st.sampled_from(list(KINDS)), min_size=1, max_size=4))
    n = 40
    columns = {}
    for place, kind in enumerate(kinds):
        cells = draw(st.lists(KINDS[kind], min_size=4, max_size=8))
        columns[f"{kind}{place}"] = pl.Series((cells * n)[:n], dtype=TYPES[kind])
    rows = pl.DataFrame(columns)
    return rows, rows.head(draw(st.integers(1, n))).with_columns(
        pl.when(pl.int_range(pl.len()) % 3 == 0)
        .then(pl.lit("never seen"))
        .otherwise(name)
        .alias(name)
        for name in rows.columns
        if rows[name].dtype == pl.String
    )


@given(frames(), st.randoms(use_true_random=False))
@settings(deadline=None, max_examples=15)
def test_raw_rows_score_on_the_serving_path_as_their_matrix_does_natively(found, random):
    rows, later = found
    project = Project("p")

    @project.model(label="y", features=rows.columns)
    def risk(table): ...

    labels = [random.random() < 0.5 for _ in range(rows.height - 2)] + [True, False]
    at = [datetime(2013, 1, 1, tzinfo=UTC) + timedelta(hours=n) for n in range(rows.height)]
    rows = rows.with_columns(y=pl.Series(labels), at=pl.Series(at))
    of = signature(Snapshot(rows, (), "at"), rows, project.models["risk"])
    learnt = TrainingSet(rows, of, "y", 0)
    model = LGBMClassifier(n_estimators=3, min_child_samples=2, n_jobs=1, verbose=-1)
    model.fit(learnt.X, learnt.y)
    manifest = Manifest(name="m", version=1, run="r", made_at="2013", signature=of, files={})
    files = seal(manifest, {"model.onnx": to_onnx(model, of)}, Signer())
    predictor = open_bundle(files, {"k": KEY.public_key().public_bytes_raw()})
    for part in (rows, later):
        native = native_scores(model, of, matrix(part, of))
        np.testing.assert_allclose(rival.score(predictor, part), native, atol=1e-5)
