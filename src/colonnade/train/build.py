"""A training set: the labelled rows of one table version, in a stated order, split and encoded.

The order is event time, then key: the same snapshot gives the same matrix, bit for bit. The
newest part judges, the earlier part is learnt from; no row is in both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from typing import Final

import numpy as np
import numpy.typing as npt
import polars as pl

from colonnade.base import clock
from colonnade.base.errors import UsageError, VerdictError
from colonnade.base.text import closest
from colonnade.govern.session import Session
from colonnade.project import Model
from colonnade.records import canonical
from colonnade.records.entry import Entry
from colonnade.records.model import (
    Admitted,
    Feature,
    FeatureKind,
    Field,
    FieldKind,
    Signature,
    Task,
)
from colonnade.records.run import Split
from colonnade.records.table import TableVersion
from colonnade.train.admit import admitted

MIN_ROWS: Final = 20
MAX_CLASSES: Final = 20

Matrix = npt.NDArray[np.float32]
Labels = npt.NDArray[np.float64]


class TrainingSet:
    """What a model's function is given.

    Attributes:
        X: float32 [n, d] in the order of `features`; a category is its index, a flag 0 or 1,
            missing is NaN.
        y: [n]: class numbers (int64) in the order of `classes`, or values (float64).
        features: names of the columns of `X`.
        categories: positions in `X` of the columns that hold categories.
        classes: texts of the classes; empty for a regression.
        seed: the model's seed.
    """

    def __init__(self, rows: pl.DataFrame, signature: Signature, label: str, seed: int) -> None:
        self.X: Matrix = matrix(rows, signature)
        y = labels(rows, signature, label)
        self.y: npt.NDArray[np.int64] | Labels = (
            y if signature.task == "regression" else y.astype(np.int64)
        )
        self.features = tuple(feature.name for feature in signature.features)
        self.categories = tuple(
            place for place, f in enumerate(signature.features) if f.kind == "category"
        )
        self.classes = signature.classes
        self.seed = seed

    def __len__(self) -> int:
        return len(self.y)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The labelled rows of a table version in their order, with key and time columns.

    Attributes:
        admitted: what contracts say of its columns.
    """

    rows: pl.DataFrame
    key: tuple[Field, ...]
    time: str | None
    admitted: Mapping[str, Admitted] = field(default_factory=dict)


def snapshot(session: Session, model: Model, table: Entry, also: Sequence[str] = ()) -> Snapshot:
    """Read the labelled rows of a table version.

    Args:
        session: whose actor may read.
        model: the declaration: its features, its label and the columns that its gates slice by.
        table: the entry of the table version.
        also: further columns, where the table has them.

    Raises:
        UsageError: CN-TRAIN-001, a column is not in the table; CN-TRAIN-002, a column has a type
            that is no feature.
        VerdictError: CN-TRAIN-003, too few labelled rows.
    """
    version = table.read(TableVersion)
    slices = [gate.by for gate in model.gates if gate.by]
    for column in (*model.features, model.label, *slices):
        if column not in version.columns:
            raise UsageError(
                "CN-TRAIN-001",
                f"model {model.name}: the table {table.ref.short} has no column {column!r}; "
                f"{closest(column, version.columns)}",
                f"return the column from the table's function, or leave it out of {model.name}",
            )
    order = [*([version.time] if version.time else []), *version.key]
    rest = [*slices, *order, *(column for column in also if column in version.columns)]
    columns = list(dict.fromkeys([*model.features, model.label, *rest]))
    labelled = session.scan(table.ref, columns).filter(pl.col(model.label).is_not_null())
    rows = (labelled.sort(order, maintain_order=True) if order else labelled).collect()
    for column in (*model.features, model.label):
        if rows[column].dtype.is_float() and (endless := rows[column].is_infinite().sum()):
            raise UsageError(
                "CN-TRAIN-002",
                f"model {model.name}: the column {column} is infinite in {endless} of "
                f"{rows.height} rows, expected finite numbers",
                "cut them off or make them null in the table's function",
            )
    if rows.height < MIN_ROWS:
        raise VerdictError(
            "CN-TRAIN-003",
            f"model {model.name}: {rows.height} labelled rows in {table.ref.short}, at least "
            f"{MIN_ROWS} are needed",
            "wait for labels, or widen the table",
        )
    key = tuple(Field(name=name, kind=_field_kind(name, rows[name].dtype)) for name in version.key)
    return Snapshot(rows, key, version.time, admitted(session, table, rows))


def split(found: Snapshot, holdout: float, seed: int, seen_until: str | None) -> Split:
    """Where the newest part begins.

    The newest `holdout` of the rows judges. Where a champion is judged beside the candidate, both
    on rows that neither has seen, it is at most the newest half of what is newer than the
    champion's snapshot: the other half is what the candidate has learnt and the champion has not.

    Args:
        found: the snapshot.
        holdout: share of the rows.
        seed: for tables without a time, where the split is a random one.
        seen_until: newest event time that the champion was fitted on.

    Raises:
        VerdictError: CN-TRAIN-006, no row is earlier than the newest part.
    """
    rows, n = found.rows, found.rows.height
    order = canonical.sha256(_order_bytes(found))
    if found.time is None:
        newest = min(max(1, round(n * holdout)), n - 1)
        return Split(
            rows=n, order=order, earlier=n - newest, newest=newest, newest_from=None,
            newest_until=None, rule=f"{holdout:.0%} of the rows at random, seed {seed}",
        )  # fmt: skip
    times = rows[found.time]
    start, rule = int(n * (1 - holdout)), f"the newest {holdout:.0%} of the rows by {found.time}"
    if seen_until is not None:
        unseen = int((times > _moment(times, seen_until)).sum())
        half = n - unseen + unseen // 2
        if unseen and half > start:
            start = half
            rule = f"the newest half of the {unseen} rows that the champion has not seen"
    boundary = times[min(start, n - 1)]
    earlier = int((times < boundary).sum())
    if not earlier:
        raise VerdictError(
            "CN-TRAIN-006",
            f"no labelled row is earlier than the newest {n} by {found.time}: too many have one "
            "and the same time",
            "wait for later rows, or give the table a finer time",
        )
    return Split(
        rows=n, order=order, earlier=earlier, newest=n - earlier,
        newest_from=clock.stamp(_utc(boundary)), newest_until=clock.stamp(_utc(times[-1])),
        rule=rule,
    )  # fmt: skip


def parts(found: Snapshot, where: Split, seed: int) -> tuple[pl.DataFrame, pl.DataFrame]:
    """The earlier and the newest rows of a split."""
    rows = found.rows
    if found.time is None:
        shuffled = np.random.default_rng(seed).permutation(rows.height)
        rows = rows[np.concatenate([np.sort(shuffled[: where.earlier]), shuffled[where.earlier :]])]
    return rows[: where.earlier], rows[where.earlier :]


def check_classes(earlier: pl.DataFrame, of: Signature, model: Model) -> None:
    """Refuse to learn from rows that lack a class: nothing could tell it.

    Raises:
        VerdictError: CN-TRAIN-004.
    """
    known = earlier[model.label].cast(pl.String).unique().to_list()
    if lacking := [name for name in of.classes if name not in known]:
        raise VerdictError(
            "CN-TRAIN-004",
            f"model {model.name}: none of the {earlier.height} earlier rows has the label "
            f"{lacking[0]}, only newer ones do",
            "wait for more labels, or choose another holdout",
        )


def signature(found: Snapshot, rows: pl.DataFrame, model: Model) -> Signature:
    """What a request carries, with the categories and ranges that are in `rows`.

    Categories are in the order of their frequency, the most frequent first, ties by name.

    Raises:
        UsageError: CN-TRAIN-002, a column has a type that is no feature.
    """
    task, classes = _task(found.rows[model.label], model)
    return Signature(
        features=tuple(
            replace(_feature(rows[name], model), admitted=found.admitted.get(name))
            for name in model.features
        ),
        task=task,
        key=found.key,
        time=found.time,
        classes=classes,
    )


def matrix(rows: pl.DataFrame, of: Signature) -> Matrix:
    """The rows as the estimator sees them: float32 [n, d] in feature order."""
    columns = []
    for feature in of.features:
        column = rows[feature.name]
        if feature.kind == "category":
            codes = {word: float(code) for code, word in enumerate(feature.categories)}
            column = column.cast(pl.String).replace_strict(
                codes, default=None, return_dtype=pl.Float32
            )
        columns.append(column.cast(pl.Float32).fill_null(float("nan")).to_numpy())
    return np.ascontiguousarray(np.column_stack(columns), dtype=np.float32)


def labels(rows: pl.DataFrame, of: Signature, label: str) -> Labels:
    """The labels as numbers: the class's place, or the value."""
    column = rows[label]
    if of.task == "regression":
        return column.cast(pl.Float64).to_numpy()
    places = {word: float(place) for place, word in enumerate(of.classes)}
    return column.cast(pl.String).replace_strict(places, return_dtype=pl.Float64).to_numpy()


def _feature(column: pl.Series, model: Model) -> Feature:
    kind = _feature_kind(column, model)
    if kind == "category":
        words = column.cast(pl.String).drop_nulls().value_counts(name="# rows")
        known = words.sort(["# rows", column.name], descending=[True, False])[column.name].to_list()
        return Feature(
            name=column.name, kind=kind, categories=tuple(word for word in known if word)
        )
    numbers = column.cast(pl.Float64).drop_nulls().drop_nans()
    low, high = (numbers.min(), numbers.max()) if len(numbers) else (None, None)
    return Feature(
        name=column.name,
        kind=kind,
        low=None if low is None else float(low),  # type: ignore[arg-type]
        high=None if high is None else float(high),  # type: ignore[arg-type]
    )


def _feature_kind(column: pl.Series, model: Model) -> FeatureKind:
    dtype = column.dtype
    if dtype == pl.Boolean:
        return "flag"
    if dtype.is_integer():
        return "integer"
    if dtype.is_float():
        return "number"
    if dtype == pl.String:
        return "category"
    raise UsageError(
        "CN-TRAIN-002",
        f"model {model.name}: the column {column.name} has the type {dtype}, which is no feature",
        "derive numbers, flags or categories from it in the table's function",
    )


def _field_kind(name: str, dtype: pl.DataType) -> FieldKind:
    if dtype == pl.Date:
        return "date"
    if isinstance(dtype, pl.Datetime):
        return "datetime"
    if dtype == pl.Boolean:
        return "flag"
    if dtype.is_integer():
        return "integer"
    if dtype == pl.String:
        return "category"
    raise UsageError(
        "CN-TRAIN-002",
        f"the key column {name} has the type {dtype}",
        "use texts, integers, dates or times as a key",
    )


def _task(column: pl.Series, model: Model) -> tuple[Task, tuple[str, ...]]:
    dtype = column.dtype
    if dtype.is_float():
        return "regression", ()
    if dtype not in (pl.Boolean, pl.String) and not dtype.is_integer():
        raise UsageError(
            "CN-TRAIN-002",
            f"model {model.name}: the label {column.name} has the type {dtype}",
            "make it a flag, a text, an integer or a number",
        )
    found = column.unique().sort()
    if dtype.is_integer() and len(found) > MAX_CLASSES:
        return "regression", ()
    if len(found) < 2:
        raise VerdictError(
            "CN-TRAIN-004",
            f"model {model.name}: every row has the same label {found.to_list()}",
            "there is nothing to tell apart; check the label's column",
        )
    classes = tuple(found.cast(pl.String).to_list())
    return ("binary" if len(classes) == 2 else "multiclass"), classes


def _order_bytes(found: Snapshot) -> bytes:
    columns = [field.name for field in found.key] or found.rows.columns
    return found.rows.select(columns).write_csv(None, include_header=False).encode()


def _moment(times: pl.Series, stamp: str) -> datetime | date:
    moment = clock.instant(stamp)
    if times.dtype == pl.Date:
        return moment.date()
    return moment if times.dtype.time_zone else moment.replace(tzinfo=None)  # type: ignore[attr-defined]


def _utc(value: datetime | date) -> datetime:
    if isinstance(value, datetime):
        return value if value.tzinfo else value.replace(tzinfo=UTC)
    return datetime(value.year, value.month, value.day, tzinfo=UTC)
