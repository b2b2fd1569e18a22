"""Late labels: a file of outcomes, by prediction id or by business key.

Labels are only ever added: a correction is a later row, so that a question about *then* keeps its
answer. Which predictions they meet is found when somebody asks (``monitor.join``).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import polars as pl

from colonnade.base import clock
from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.bundle.key import key_text
from colonnade.data.cells import misread, read_column, reading
from colonnade.govern.session import Session
from colonnade.records import canonical
from colonnade.records.contract import LogicalType
from colonnade.records.entry import Entry
from colonnade.records.model import FieldKind, Signature
from colonnade.records.prediction import PREDICTION_ID, labels_of
from colonnade.records.ref import Ref
from colonnade.records.source import LandedFile
from colonnade.records.table import TableVersion

OBSERVED_AT = "observed_at"
_KINDS: dict[FieldKind, LogicalType] = {
    "category": "string",
    "integer": "integer",
    "number": "number",
    "flag": "boolean",
    "date": "date",
    "datetime": "timestamp",
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """What became of a file of labels.

    Attributes:
        entry: the version of the label table that holds now.
        digest: SHA-256 of the file.
        rows: labels in the file.
        done: whether this call took them over; a file is taken over once.
    """

    entry: Entry
    digest: str
    rows: int
    done: bool


def take_labels(
    session: Session, endpoint: str, signature: Signature, label: str, path: Path
) -> Labelled:
    """Take over the labels in a file (CSV or Parquet).

    The file has the column `label` (or ``label``), and ``prediction_id`` or the columns of the
    business key; ``observed_at`` says when the outcome was known, else it is now. Other columns
    are not looked at.

    Raises:
        UsageError: CN-LABEL-001, a column is missing; CN-LABEL-002, a cell cannot be read; the
            message names the column and how many; CN-SOURCE-003, the file cannot be read. Nothing
            is taken over.
    """
    session.require("label", Ref("table", labels_of(endpoint)))
    digest = session.digest_of(path)
    with reading(path.name):
        raw = session.open_file(path, ()).collect()
    value = next((name for name in (label, "label") if name in raw.columns), None)
    if value is None:
        raise _missing(path, label, raw.columns)
    rows = _rows(path, raw, value, signature)
    with session.writer(labels_of(endpoint)) as writer:
        newest = writer.newest
        before = {} if newest is None else newest.read(TableVersion).files
        name = f"{digest[:12]} {path.name}"
        if newest is not None and before.get(name) == digest:
            return Labelled(newest, digest, rows.height, done=False)
        version = TableVersion(
            mode="append",
            step=canonical.digest({"labels": digest}),
            time=OBSERVED_AT,
            files=before | {name: digest},
            landed=(
                LandedFile(
                    path=path.name,
                    sha256=digest,
                    size_bytes=path.stat().st_size,
                    rows=rows.height,
                ),
            ),
        )
        made_from = [f"file/{digest}", *([newest.subject] if newest else [])]
        stamped = rows.with_columns(
            pl.lit(clock.now()).cast(pl.Datetime("us", "UTC")).alias("recorded_at"),
            pl.lit(digest).alias("file_sha256"),
        )
        entry = writer.write(stamped, version, made_from)
    return Labelled(entry, digest, rows.height, done=True)


def _rows(path: Path, raw: pl.DataFrame, value: str, signature: Signature) -> pl.DataFrame:
    absent = pl.Series([None] * raw.height, dtype=pl.String)
    identifier, key = absent, absent
    if PREDICTION_ID in raw.columns:
        identifier = _present(path, raw[PREDICTION_ID], "string")
    else:
        key = _keys(path, raw, signature)
    observed = (
        _read(path, raw[OBSERVED_AT], "timestamp")
        if OBSERVED_AT in raw.columns
        else pl.Series([clock.now()] * raw.height, dtype=pl.Datetime("us", "UTC"))
    )
    return pl.DataFrame(
        {
            PREDICTION_ID: identifier,
            "key": key,
            "label": _label(path, raw[value], signature),
            OBSERVED_AT: observed,
        }
    ).filter(pl.col("label").is_not_null())


def _keys(path: Path, raw: pl.DataFrame, signature: Signature) -> pl.Series:
    if not signature.key:
        raise _missing(path, PREDICTION_ID, raw.columns)
    for field in signature.key:
        if field.name not in raw.columns:
            raise _missing(path, field.name, raw.columns)
    parts = [_present(path, raw[field.name], _KINDS[field.kind]) for field in signature.key]
    texts = [key_text(row, signature.key) for row in zip(*parts, strict=True)]
    return pl.Series(texts, dtype=pl.String)


def _label(path: Path, column: pl.Series, signature: Signature) -> pl.Series:
    """The labels as texts: a class as the model spells it, or a number."""
    if signature.task == "regression":
        return _read(path, column, "number").cast(pl.String)
    if signature.classes == ("false", "true"):
        column = _read(path, column, "boolean")
    words = column.cast(pl.String)
    unknown = words.is_not_null() & ~words.is_in(list(signature.classes))
    if unknown.any():
        raise UsageError(
            "CN-LABEL-002",
            f"{path.name}: {unknown.sum()} labels in {column.name} are none of the model's classes "
            f"({', '.join(signature.classes[:10])})",
            "write the classes as the training table does; nothing was taken over",
        )
    return words


def _present(path: Path, column: pl.Series, kind: LogicalType) -> pl.Series:
    """The cells of a column that must all be there: a label without a name meets nothing."""
    found = _read(path, column, kind)
    if missing := found.null_count():
        raise UsageError(
            "CN-LABEL-002",
            f"{path.name}: {missing} cells of {column.name} are missing",
            "say of each label which prediction it belongs to; nothing was taken over",
        )
    return found


def _read(path: Path, column: pl.Series, kind: LogicalType) -> pl.Series:
    found = read_column(column, kind)
    if bad := misread(column, found).sum():
        raise UsageError(
            "CN-LABEL-002",
            f"{path.name}: {bad} cells of {column.name} cannot be read as {kind}",
            "mend the file; nothing was taken over",
        )
    return found


def _missing(path: Path, column: str, columns: list[str]) -> UsageError:
    return UsageError(
        "CN-LABEL-001",
        f"{path.name} has no column {column!r}; {closest(column, columns)}",
        f"a file of labels has the label, and {PREDICTION_ID} or the business key",
    )
