"""The flusher: acknowledged predictions from the spool into the prediction table, each once.

One segment has one name (spool, number). It is committed under this name in the same ledger
transaction that names the rows, and its file is deleted after that: a kill in between is seen
the next time by the name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import msgspec
import polars as pl

from colonnade.base.errors import ColonnadeError, RefusedError, VerdictError
from colonnade.govern.session import Session
from colonnade.govern.writer import Writer
from colonnade.records import canonical
from colonnade.records.prediction import FEATURE, predictions_of
from colonnade.records.ref import Ref
from colonnade.records.table import Segment as Flushed
from colonnade.records.table import TableVersion
from colonnade.serve import collect
from colonnade.serve.collect import FIXED, Segment
from colonnade.serve.log import Cell

MAX_ROWS: Final = 200_000  # in one commit: bounds the memory of the flusher
_TYPES: Final[dict[str, pl.DataType]] = {
    "prediction_id": pl.String(),
    "predicted_at": pl.Datetime("us", "UTC"),
    "event_time": pl.Datetime("us", "UTC"),
    "key": pl.String(),
    "revision": pl.String(),
    "model": pl.String(),
    "version": pl.Int64(),
    "caller": pl.String(),
    "route": pl.String(),
    "latency_us": pl.Int64(),
}


def flush(session: Session, endpoint: str, spool: Path) -> int:
    """Commit every segment of an endpoint that its workers have closed; returns the rows.

    Raises:
        VerdictError: CN-SPOOL-001 to 003, a segment is damaged: it stays where it is, all others
            are committed.
    """
    folder = spool / endpoint
    if not any(collect.segments(folder)):
        return 0
    total = 0
    damage: list[ColonnadeError] = []
    with session.writer(predictions_of(endpoint)) as writer:
        batch: list[Segment] = []
        for segment in _whole(folder, session.spool_keys(), damage):
            if segment.number in session.flushed(segment.spool) or not segment.rows:
                collect.discard(segment)
                continue
            batch.append(segment)
            if sum(len(waiting.rows) for waiting in batch) >= MAX_ROWS:
                total += _commit(writer, endpoint, batch)
                batch = []
        total += _commit(writer, endpoint, batch)
    collect.sweep(folder)
    if damage:
        raise damage[0]
    return total


def _whole(folder: Path, keys: dict[str, bytes], damage: list[ColonnadeError]) -> Iterator[Segment]:
    """The segments that are whole: each has a name of its own, none waits for another's mending."""
    for found in collect.segments(folder):
        try:
            yield collect.read(found, keys)
        except RefusedError as error:
            damage.append(error)
        except VerdictError as error:
            aside = found.path.with_suffix(collect.ASIDE)
            fix = f"restore it from a copy, or set it aside: mv {found.path} {aside}"
            damage.append(VerdictError(error.code, f"{found.path}: {error.message}", fix))


def _commit(writer: Writer, endpoint: str, batch: list[Segment]) -> int:
    if not batch:
        return 0
    frames = [_frame(segment) for segment in batch]
    flushed = tuple(_name(endpoint, *pair) for pair in zip(batch, frames, strict=True))
    rows = pl.concat(frames, how="diagonal")
    models = sorted({(row.model, row.version) for segment in batch for row in segment.rows})
    newest = writer.newest
    version = TableVersion(
        mode="append",
        step=canonical.digest(flushed),
        key=("prediction_id",),
        time="event_time",
        segments=flushed,
    )
    made_from = [str(Ref("model", model, number)) for model, number in models]
    writer.write(rows, version, made_from + ([newest.subject] if newest else []))
    for segment in batch:
        collect.discard(segment)
    return rows.height


def _name(endpoint: str, segment: Segment, rows: pl.DataFrame) -> Flushed:
    ids = rows["prediction_id"].sort()
    return Flushed(
        endpoint=endpoint,
        spool=segment.spool,
        number=segment.number,
        rows=rows.height,
        first_id=ids[0],
        last_id=ids[-1],
        digest=rows_digest(rows),
    )


def rows_digest(rows: pl.DataFrame) -> str:
    """SHA-256 over logical rows: JSON lines by prediction id, names sorted, nulls left out.

    It does not change when files are compacted or when another model's columns are added.
    """
    digest = hashlib.sha256()
    for row in rows.sort("prediction_id").iter_rows(named=True):
        known = {name: value for name, value in row.items() if value is not None}
        digest.update(msgspec.json.encode(known, order="sorted") + b"\n")
    return digest.hexdigest()


def _frame(segment: Segment) -> pl.DataFrame:
    fixed = segment.columns()
    scores = fixed.pop("score")
    columns = [pl.Series(name, fixed[name], dtype=_TYPES[name]) for name in FIXED if name in fixed]
    if scores and isinstance(scores[0], list):
        columns.append(pl.Series("scores", scores, dtype=pl.List(pl.Float64)))
    else:
        columns.append(pl.Series("score", scores, dtype=pl.Float64))
    for name, values in segment.features().items():
        column = _feature(FEATURE + name, values)
        if column is not None:
            columns.append(column)
    return pl.DataFrame(columns).with_columns(
        pl.lit(segment.spool).alias("spool"),
        pl.lit(segment.number, dtype=pl.Int64).alias("segment"),
    )


def _feature(name: str, values: list[Cell]) -> pl.Series | None:
    """Numbers as floats, so that 5 and 5.0 share a column; None where nothing came."""
    first = next((value for value in values if value is not None), None)
    if first is None:
        return None
    if isinstance(first, bool):
        return pl.Series(name, values, dtype=pl.Boolean)
    if isinstance(first, str):
        return pl.Series(name, values, dtype=pl.String)
    return pl.Series(name, values, dtype=pl.Float64, strict=False)
