"""Batch predictions over a file: the same bundle, the same log, the same trace as online.

A file is predicted once by a model version: asked again, the logged predictions are written out
again under their ids.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import polars as pl

from colonnade.base import clock, ids
from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.bundle.key import key_text
from colonnade.bundle.predict import Predictor
from colonnade.data.cells import misread, read_column, reading
from colonnade.govern.models import open_version
from colonnade.govern.session import Session
from colonnade.records.contract import LogicalType
from colonnade.records.entry import Entry
from colonnade.records.model import FeatureKind, FieldKind
from colonnade.records.prediction import FEATURE, PREDICTION_ID, predictions_of
from colonnade.records.table import Segment, TableVersion
from colonnade.serve.flush import rows_digest

_KINDS: Final[dict[FeatureKind | FieldKind, LogicalType]] = {
    "number": "number",
    "integer": "integer",
    "flag": "boolean",
    "category": "string",
    "date": "date",
    "datetime": "timestamp",
}


@dataclass(frozen=True, slots=True)
class Predicted:
    """What a batch came to.

    Attributes:
        table: the version of the prediction table that holds it.
        first_id: id of the first prediction.
        done: whether this call made the predictions.
    """

    rows: int
    table: str
    first_id: str
    done: bool


def predict(
    session: Session, endpoint: str, version: Entry, source: Path, target: Path
) -> Predicted:
    """Score every row of a file and write the rows with their predictions.

    Args:
        session: whose actor may predict.
        endpoint: in whose log the predictions are kept.
        version: the entry of the model version.
        source: CSV, zipped CSV or Parquet with the model's features by name; key and time columns
            are taken along, others pass through.
        target: ``.csv`` or ``.parquet``; written whole or not at all.

    Raises:
        UsageError: CN-PREDICT-004, a column is missing or a cell is not of its kind;
            CN-PREDICT-005, the target cannot be written so; CN-PREDICT-006, there are no rows;
            CN-SOURCE-003, the file cannot be read.
        RefusedError: the model's bytes are not what was signed.
        UnavailableError: CN-DISK-001, CN-DISK-002; what was predicted is kept, and written out
            when it is asked for again.
    """
    session.require("predict", version.ref)
    _check_target(source, target)
    predictor = open_version(session, version)
    digest = session.digest_of(source)
    with reading(source.name):
        raw = session.open_file(source, ()).collect()
    if raw.is_empty():
        raise UsageError("CN-PREDICT-006", f"{source.name} has no rows", "name a file with rows")
    spool = f"batch {endpoint} {version.ref.short} {digest}"
    with session.writer(predictions_of(endpoint)) as writer:
        done = not session.flushed(spool)
        if done:
            rows = _score(session, predictor, version, raw, source.name)
            rows = rows.with_columns(
                pl.lit(spool).alias("spool"), pl.lit(0, dtype=pl.Int64).alias("segment")
            )
            made_from = [version.subject, f"file/{digest}"]
            made_from += [writer.newest.subject] if writer.newest else []
            entry = writer.write(rows, _version(endpoint, spool, rows), made_from)
        else:
            entry = session.version(writer.newest.ref if writer.newest else version.ref)
            rows = session.scan(entry.ref).filter(pl.col("spool") == spool).collect()
            rows = rows.sort(PREDICTION_ID)
    with session.new_file("predict", target) as temporary:
        answer = _answer(raw, rows, predictor.signature.classes)
        with temporary.open("xb") as file:
            if target.suffix == ".csv":
                answer.write_csv(file)
            else:
                answer.write_parquet(file)
    return Predicted(raw.height, entry.ref.short, str(rows[PREDICTION_ID][0]), done)


def _check_target(source: Path, target: Path) -> None:
    """Refuse before anything is predicted what could not be written afterwards."""
    if target.suffix not in (".csv", ".parquet"):
        found, fix = "is no .csv or .parquet", "name the output file so"
    elif not target.parent.is_dir():
        found, fix = f"lies in no folder: {target.parent}", f"mkdir -p {target.parent}"
    else:
        try:
            if not (target.exists() and target.samefile(source)):
                _temporary(target).touch()
                _temporary(target).unlink()
                return
            found, fix = "is the input file", "choose another name for the output"
        except OSError as error:
            found = f"cannot be written: {error.strerror}"
            fix = "choose a file that you may write"
    raise UsageError("CN-PREDICT-005", f"{target.name} {found}; nothing was predicted", fix)


def _temporary(target: Path) -> Path:
    """Where the output is written before it takes its name."""
    return target.with_name(f".{target.name}.{os.getpid()}")


def _version(endpoint: str, spool: str, rows: pl.DataFrame) -> TableVersion:
    segment = Segment(
        endpoint=endpoint,
        spool=spool,
        number=0,
        rows=rows.height,
        first_id=str(rows[PREDICTION_ID].min()),
        last_id=str(rows[PREDICTION_ID].max()),
        digest=rows_digest(rows),
    )
    return TableVersion(
        mode="append", step=spool, key=(PREDICTION_ID,), time="event_time", segments=(segment,)
    )


def _score(
    session: Session, predictor: Predictor, version: Entry, raw: pl.DataFrame, name: str
) -> pl.DataFrame:
    signature = predictor.signature
    columns = {f.name: _read(raw, f.name, _KINDS[f.kind], name) for f in signature.features}
    start = time.perf_counter()
    scores = predictor.score_columns({n: column.to_list() for n, column in columns.items()})
    took_us = round((time.perf_counter() - start) * 1e6)
    absent = pl.Series([None] * raw.height)
    keys = absent.cast(pl.String)
    if signature.key and all(field.name in raw.columns for field in signature.key):
        parts = [_read(raw, field.name, _KINDS[field.kind], name) for field in signature.key]
        texts = [key_text(row, signature.key) for row in zip(*parts, strict=True)]
        keys = pl.Series(texts, dtype=pl.String)
    times = absent.cast(pl.Datetime("us", "UTC"))
    if signature.time is not None and signature.time in raw.columns:
        times = _read(raw, signature.time, "timestamp", name)
    score = {"scores": scores.tolist()} if scores.ndim == 2 else {"score": scores.astype("float64")}
    features = {
        FEATURE + n: column.cast(pl.Float64) if column.dtype.is_numeric() else column
        for n, column in columns.items()
    }
    return pl.DataFrame(
        {
            PREDICTION_ID: sorted(ids.uuid7() for _ in range(raw.height)),
            "event_time": times,
            "key": keys,
            **score,
            **features,
        }
    ).with_columns(
        pl.lit(clock.now()).cast(pl.Datetime("us", "UTC")).alias("predicted_at"),
        pl.lit(f"batch {version.ref.short}").alias("revision"),
        pl.lit(predictor.manifest.name).alias("model"),
        pl.lit(predictor.manifest.version).cast(pl.Int64).alias("version"),
        pl.lit(session.actor.name).alias("caller"),
        pl.lit("batch").alias("route"),
        pl.lit(took_us).cast(pl.Int64).alias("latency_us"),
    )


def _read(raw: pl.DataFrame, column: str, kind: LogicalType, name: str) -> pl.Series:
    if column not in raw.columns:
        raise UsageError(
            "CN-PREDICT-004",
            f"{name} has no column {column!r}, which the model reads; "
            f"{closest(column, raw.columns)}",
            "add the column; nothing was predicted",
        )
    found = read_column(raw[column], kind)
    bad = misread(raw[column], found)
    if bad.any():
        raise UsageError(
            "CN-PREDICT-004",
            f"{name}: row {bad.index_of(True) + 1} of {column} cannot be read as {kind}",  # type: ignore[operator]
            "mend the file; nothing was predicted",
        )
    return found


def _answer(raw: pl.DataFrame, rows: pl.DataFrame, classes: Sequence[str]) -> pl.DataFrame:
    """The input with id, score (of several classes one column each) and version behind it."""
    if "scores" in rows.columns and rows["scores"].null_count() == 0:
        places = enumerate(classes)
        scores = [rows["scores"].list.get(n).alias(f"score_{name}") for n, name in places]
    else:
        scores = [rows["score"]]
    return raw.with_columns(
        rows[PREDICTION_ID],
        *scores,
        (rows["model"] + "@" + rows["version"].cast(pl.String)).alias("model_version"),
    )
