"""Predictions and their labels, as they were known at a moment.

A label meets its prediction by id, else by business key. Of several labels for one prediction the
one recorded last before the moment counts; earlier ones stay in the table.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

import polars as pl

from colonnade.govern.session import Session
from colonnade.records.prediction import PREDICTION_ID, labels_of, predictions_of
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion

Window = tuple[datetime, datetime]


def joined(
    session: Session, endpoint: str, window: Window, as_of: datetime, columns: Sequence[str] = ()
) -> pl.DataFrame:
    """The predictions of a window of event time with their labels.

    Args:
        session: whose actor may read both tables.
        endpoint: whose predictions.
        window: first moment (in) and last (out) of event time; a prediction whose request carried
            no event time counts at the moment when it was made.
        as_of: labels recorded later are not known yet.
        columns: columns of the prediction table beside id, key, model, version, score.

    Returns:
        One row a prediction, of several for one business key the one made last: the same case
        asked twice is one case. ``label`` is null where none is known.

    Raises:
        NotFoundError: CN-REF-002, the endpoint has made no prediction.
    """
    table = session.version(Ref("table", predictions_of(endpoint)))
    have = table.read(TableVersion).columns
    fixed = [PREDICTION_ID, "key", "model", "version", "predicted_at", "event_time"]
    scores = [name for name in ("score", "scores") if name in have]
    wanted = [name for name in dict.fromkeys([*fixed, *scores, *columns]) if name in have]
    at = pl.coalesce("event_time", "predicted_at")
    predictions = (
        session.scan(table.ref, wanted)
        .with_columns(at.alias("event_time"))
        .filter(pl.col("event_time") >= window[0], pl.col("event_time") < window[1])
        .sort("event_time", PREDICTION_ID)
        .collect()
    )
    newest = session.newest("table", labels_of(endpoint))
    if newest is None:
        return _cases(predictions.with_columns(pl.lit(None, dtype=pl.String).alias("label")))
    labels = session.scan(newest.ref).filter(pl.col("recorded_at") <= as_of).collect()
    by_id = _latest(labels, PREDICTION_ID)
    by_key = _latest(labels, "key").rename({"label": "label by key", "recorded_at": "keyed_at"})
    later = pl.col("keyed_at") > pl.col("recorded_at")
    return _cases(
        predictions.join(by_id, on=PREDICTION_ID, how="left", maintain_order="left")
        .join(by_key, on="key", how="left", maintain_order="left")
        .with_columns(
            pl.when(later).then("label by key").otherwise(pl.coalesce("label", "label by key"))
            .alias("label")
        )
        .drop("label by key", "recorded_at", "keyed_at")
    )  # fmt: skip


def met(session: Session, endpoint: str, labels: Ref, file: str) -> int:
    """How many labels of a file (by its SHA-256) belong to a prediction that was made by now.

    Args:
        session: whose actor may read both tables.
        endpoint: whose labels.
        labels: the version of the label table.
        file: SHA-256 of the file that they came in.
    """
    predicted = session.newest("table", predictions_of(endpoint))
    if predicted is None:
        return 0
    mine = session.scan(labels).filter(pl.col("file_sha256") == file)
    made = session.scan(predicted.ref, [PREDICTION_ID, "key"])
    return sum(
        mine.filter(pl.col(name).is_not_null())
        .join(made.select(name), on=name, how="semi")
        .select(pl.len())
        .collect()
        .item()
        for name in (PREDICTION_ID, "key")
    )


def _cases(found: pl.DataFrame) -> pl.DataFrame:
    """One row for each business key: the prediction made last, a labelled one before others."""
    order = [pl.col("label").is_not_null(), "predicted_at", PREDICTION_ID]
    keyed = found.filter(pl.col("key").is_not_null()).sort(order)
    last = keyed.unique("key", keep="last", maintain_order=True)
    return pl.concat([last, found.filter(pl.col("key").is_null())]).sort(
        "event_time", PREDICTION_ID
    )


def _latest(labels: pl.DataFrame, on: str) -> pl.DataFrame:
    return (
        labels.filter(pl.col(on).is_not_null())
        .sort("recorded_at", maintain_order=True)
        .unique(on, keep="last")
        .select(on, "label", "recorded_at")
    )
