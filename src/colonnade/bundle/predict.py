"""The hot path: rows or columns in, scores out. The same for an endpoint, V2 and batch.

An endpoint process imports this module, so it needs numpy and msgspec only; the engine comes in as
an object (`load.open_bundle` gives onnxruntime's).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.bundle.key import KeyValue, key_text
from colonnade.bundle.request import MAX_ROWS, RequestReader, Row
from colonnade.records.model import Feature, Manifest

Feeds: TypeAlias = dict[str, npt.NDArray[np.generic]]
Scores: TypeAlias = npt.NDArray[np.float32]
Column: TypeAlias = npt.NDArray[np.generic] | Sequence[KeyValue]

_SCORE: Final = ["score"]


class Session(Protocol):
    """An engine that runs the bundle's graph; `onnxruntime.InferenceSession` is one."""

    def run(self, outputs: list[str], feeds: Feeds) -> list[Scores]:
        """Run the graph on these inputs."""
        ...


class Predictor:
    """One model version that is ready to answer.

    Args:
        manifest: what was verified.
        session: runs the very bytes that were verified.
        max_rows: rows that one request may carry.

    Attributes:
        signature: names, kinds and training ranges of the features.
        version: ``name@version``, as answers name it.
        reader: the decoder of requests; its `names` name the values of a row.
    """

    def __init__(self, manifest: Manifest, session: Session, *, max_rows: int = MAX_ROWS) -> None:
        self.manifest = manifest
        self.signature = manifest.signature
        self.version = f"{manifest.name}@{manifest.version}"
        self.reader = RequestReader(self.signature, max_rows=max_rows)
        self.decode = self.reader.decode
        self._run = session.run
        self._number_of = self.reader.getter([f.name for f in self.signature.numbers])
        self._word_of = self.reader.getter([f.name for f in self.signature.words])
        self._key_of = self.reader.getter([f.name for f in self.signature.key])
        self._time_of = self.reader.getter([self.signature.time] if self.signature.time else [])
        self._has_numbers = bool(self.signature.numbers)
        self._has_words = bool(self.signature.words)

    @property
    def row_type(self) -> type[Row]:
        """The struct of one row of a request."""
        return self.reader.row_type

    def arrays(self, rows: Sequence[Row]) -> Feeds:
        """The inputs of the graph: ``numbers`` float32 [n, k] and ``words`` text [n, m]."""
        feeds: Feeds = {}
        if self._has_numbers:
            number_of = self._number_of
            feeds["numbers"] = np.array([number_of(row) for row in rows], dtype=np.float32)
        if self._has_words:
            word_of = self._word_of
            words = [[word or "" for word in word_of(row)] for row in rows]
            feeds["words"] = np.array(words, dtype=object)
        return feeds

    def score(self, feeds: Feeds) -> Scores:
        """Run the model.

        Args:
            feeds: as `arrays` or `column_arrays` make them.

        Returns:
            float32 [n]: P(classes[1]) of a binary model or the prediction of a regression;
            [n, classes] of a multiclass model.
        """
        return self._run(_SCORE, feeds)[0]

    def predict_rows(self, rows: Sequence[Row]) -> Scores:
        """Score decoded rows, in their order."""
        return self.score(self.arrays(rows))

    def column_arrays(self, columns: Mapping[str, Column]) -> Feeds:
        """The inputs of the graph from one array or list per feature; others are not looked at.

        Args:
            columns: feature name -> [n] values; missing is None or NaN. A category may hold text
                only, a flag booleans or 0 and 1.

        Raises:
            UsageError: CN-PREDICT-001 (a column is missing), 002 (lengths differ), 003 (a value
                that the feature's kind does not have).
        """
        given = {f.name: self._given(f, columns) for f in self.signature.features}
        lengths = {name: len(column) for name, column in given.items()}
        if len(set(lengths.values())) > 1:
            raise UsageError(
                "CN-PREDICT-002",
                f"columns differ in length: {lengths}"[:400],
                "give every feature one value per row",
            )
        feeds: Feeds = {}
        if self._has_numbers:
            numbers = [_numbers(f, given[f.name]) for f in self.signature.numbers]
            feeds["numbers"] = np.stack(numbers, axis=1)
        if self._has_words:
            feeds["words"] = np.stack([_words(f, given[f.name]) for f in self.signature.words], 1)
        return feeds

    def score_columns(self, columns: Mapping[str, Column]) -> Scores:
        """Score a table, given as one array or list per feature.

        Raises:
            UsageError: as `column_arrays`.
        """
        return self.score(self.column_arrays(columns))

    def business_key(self, row: Row) -> str | None:
        """The canonical text of the row's business key; None if a part of it is absent."""
        return key_text(self._key_of(row), self.signature.key)

    def event_time(self, row: Row) -> datetime | None:
        """The row's event time in UTC; None where it is absent or is not a time."""
        for value in self._time_of(row):
            if isinstance(value, datetime):
                return _in_utc(value)
        return None

    def _given(self, feature: Feature, columns: Mapping[str, Column]) -> Column:
        if feature.name not in columns:
            raise UsageError(
                "CN-PREDICT-001",
                f"{self.version} needs the column {feature.name!r}",
                f"add it; {closest(feature.name, columns)}",
            )
        return columns[feature.name]


def _in_utc(value: datetime) -> datetime | None:
    if value.tzinfo is None:
        return value.replace(tzinfo=UTC)
    try:
        return value.astimezone(UTC)
    except OverflowError:  # in UTC it lies outside the years 1 to 9999
        return None


def _numbers(feature: Feature, column: Column) -> npt.NDArray[np.float32]:
    """One column of ``numbers``; missing is NaN."""
    given = np.asarray(column)
    if given.ndim != 1 or given.dtype.kind not in "biufO":
        raise _wrong(feature, f"{given.dtype} values of shape {given.shape}")
    if given.dtype.kind == "O" and any(isinstance(value, str | bytes) for value in given):
        raise _wrong(feature, "texts")  # numpy would read "7" as 7
    try:
        exact = given.astype(np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise _wrong(feature, "other values than numbers") from error
    with np.errstate(over="ignore"):
        values = exact.astype(np.float32)
    present = exact[~np.isnan(exact)]
    if np.isinf(values).any():
        raise _wrong(feature, "values beyond single precision")
    if feature.kind == "integer" and (np.trunc(present) != present).any():
        raise _wrong(feature, "values that are not whole")
    if feature.kind == "flag" and not ((present == 0) | (present == 1)).all():
        raise _wrong(feature, "values that are neither true nor false")
    return values


def _words(feature: Feature, column: Column) -> npt.NDArray[np.object_]:
    """One column of ``words``; missing is the empty text."""
    given = column.tolist() if isinstance(column, np.ndarray) else column
    missing = (None, "")
    texts = ["" if value in missing or value != value else value for value in given]  # noqa: PLR0124 - NaN
    if not all(isinstance(text, str) for text in texts):
        raise _wrong(feature, "other values than texts")
    return np.array(texts, dtype=object)


def _wrong(feature: Feature, found: str) -> UsageError:
    return UsageError(
        "CN-PREDICT-003",
        f"column {feature.name!r} has {found}; it is a {feature.kind}",
        "cast the column, and use null where a value is missing",
    )
