"""Delta tables on local files: writing a version, reading one, and what nobody named.

A commit carries the draft of its ledger entry as metadata (`DRAFT`), so that whoever finds a
Delta version without an entry can adopt it exactly, or undo it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake.exceptions import DeltaError

from colonnade.base import disk
from colonnade.base.errors import UsageError
from colonnade.store import durable

_Filters = list[tuple[str, str, object]] | list[list[tuple[str, str, object]]]
DRAFT: Final = "colonnade"
# Delta would delete the log of versions older than 30 days with every hundredth commit.
_KEEP: Final = PostCommitHookProperties(cleanup_expired_logs=False)
_LOSSLESS: Final[dict[type[pl.DataType], type[pl.DataType]]] = {
    pl.UInt8: pl.Int16,
    pl.UInt16: pl.Int32,
    pl.UInt32: pl.Int64,
    pl.Categorical: pl.String,
    pl.Enum: pl.String,
}
_STORABLE: Final = (
    pl.Boolean, pl.Int8, pl.Int16, pl.Int32, pl.Int64, pl.Float32, pl.Float64, pl.String, pl.Date,
    pl.Binary,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Commit:
    """One Delta version as its log tells it."""

    delta_version: int
    draft: str | None


class _Table(DeltaTable):
    """A Delta table whose files lie at their paths: deltalake writes a space as %20."""

    def file_uris(
        self,
        partition_filters: _Filters | None = None,
        *,
        file_pruning_predicate: str | _Filters | None = None,
    ) -> list[str]:
        """Paths instead of URIs."""
        uris = super().file_uris(partition_filters, file_pruning_predicate=file_pruning_predicate)
        return [unquote(uri.removeprefix("file://")) for uri in uris]


class Tables:
    """All Delta tables under one folder."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def write(
        self, name: str, frame: pl.DataFrame, mode: Literal["append", "replace"], draft: str
    ) -> int:
        """Commit rows as a new Delta version; returns its number.

        The caller holds the table's writer lease and has named or undone all versions before.

        Raises:
            UsageError: CN-TABLE-001, a type that a table cannot hold; CN-TABLE-002, appended
                columns that are not the table's.
            UnavailableError: CN-DISK-001, CN-DISK-002.
        """
        frame = storable(name, frame)
        path = self._path(name)
        if self._exists(name) and mode == "append":
            self._check_columns(name, frame)
        with _writing(path):
            path.mkdir(parents=True, exist_ok=True)
            write_deltalake(
                path,
                frame,
                mode="append" if mode == "append" else "overwrite",
                schema_mode="overwrite" if mode == "replace" else "merge",
                commit_properties=_properties(draft),
                post_commithook_properties=_KEEP,
            )
        return DeltaTable(path).version()

    def scan(self, name: str, delta_version: int) -> pl.LazyFrame:
        """The rows of one Delta version."""
        return pl.scan_delta(_Table(self._path(name), version=delta_version))

    def unnamed(self, name: str, after: int) -> list[Commit]:
        """The Delta versions behind `after` (-1 for all), oldest first."""
        if not self._exists(name):
            return []
        table = DeltaTable(self._path(name))
        count = table.version() - after
        found = [
            Commit(commit["version"], commit.get(DRAFT))
            for commit in (table.history(count) if count > 0 else [])
        ]
        return sorted(found, key=lambda commit: commit.delta_version)

    def undo(self, name: str, to: int, draft: str) -> int:
        """Make the newest version equal to version `to` again; returns the new number."""
        path = self._path(name)
        with _writing(path):
            DeltaTable(path).restore(
                to, commit_properties=_properties(draft), post_commithook_properties=_KEEP
            )
        return DeltaTable(path).version()

    def parts(self, name: str, delta_version: int, parent: int = -1) -> dict[str, str]:
        """SHA-256 of every data file that a version has and `parent` had not, by relative path."""
        root = self._path(name).resolve()
        return {
            str(path.relative_to(root)): _digest(path)
            for path in self._new_files(name, delta_version, parent)
        }

    def settle(self, name: str, delta_version: int, parent: int = -1) -> None:
        """Make a version last that is about to be named: Delta leaves it to the operating system.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002: what was written did not reach the disk.
        """
        root = self._path(name)
        log = root / "_delta_log"
        number = f"{delta_version:020}"
        written = [log / f"{number}.json", log / f"{number}.checkpoint.parquet"]
        written += [log / "_last_checkpoint", *self._new_files(name, delta_version, parent)]
        with durable.writing(root):
            for path in [*written, log, root, self._root]:
                if path.exists():
                    durable.sync(path)

    def rows(self, name: str, delta_version: int) -> int:
        """The number of rows of a version, from the log's statistics."""
        return int(self.scan(name, delta_version).select(pl.len()).collect().item())

    def _check_columns(self, name: str, frame: pl.DataFrame) -> None:
        have = dict(self.scan(name, DeltaTable(self._path(name)).version()).collect_schema())
        for column, dtype in frame.schema.items():
            if have.get(column, dtype) != dtype:
                raise UsageError(
                    "CN-TABLE-002",
                    f"table {name}: column {column} came as {dtype}, the table has {have[column]}",
                    f"cast it in the step that makes {name}, or give the new column another name",
                )

    def _new_files(self, name: str, delta_version: int, parent: int) -> list[Path]:
        return sorted(
            Path(path) for path in self._files(name, delta_version) - self._files(name, parent)
        )

    def _files(self, name: str, delta_version: int) -> set[str]:
        if delta_version < 0:
            return set()
        return set(_Table(self._path(name), version=delta_version).file_uris())

    def _exists(self, name: str) -> bool:
        return DeltaTable.is_deltatable(str(self._path(name)))

    def _path(self, name: str) -> Path:
        return self._root / name


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say plainly what the disk refused."""
    try:
        yield
    except (DeltaError, OSError) as error:
        if disk.number_of(error) is None:
            raise
        raise disk.refused(error, path) from error


def _properties(draft: str) -> CommitProperties:
    return CommitProperties(custom_metadata={DRAFT: draft})


def storable(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """The frame with every type that Delta would change silently made exact beforehand.

    Raises:
        UsageError: CN-TABLE-001, a column's type cannot be stored without loss; CN-TABLE-008,
            two columns would be one.
    """
    twins = {column.lower(): column for column in frame.columns}
    for column in frame.columns:
        if twins[column.lower()] != column:
            raise UsageError(
                "CN-TABLE-008",
                f"table {name}: columns {column} and {twins[column.lower()]} differ only in case",
                "rename one of them in the step that makes the table",
            )
    return frame.with_columns(_exact(name, column, dtype) for column, dtype in frame.schema.items())


def _exact(name: str, column: str, dtype: pl.DataType) -> pl.Expr:
    expression = pl.col(column)
    if isinstance(dtype, pl.Datetime):
        if dtype.time_unit != "ns":  # Delta keeps an instant as UTC, whatever its zone
            expression = expression.cast(pl.Datetime("us", dtype.time_zone))
            return expression.dt.convert_time_zone("UTC") if dtype.time_zone else expression
    elif dtype.base_type() in _LOSSLESS:
        return expression.cast(_LOSSLESS[dtype.base_type()])
    elif dtype.base_type() in _STORABLE or _holds_storable(dtype):
        return expression
    raise UsageError(
        "CN-TABLE-001",
        f"table {name}: column {column} has the type {dtype}, which a table cannot hold exactly",
        "cast it: numbers to Int64 or Float64, times to Datetime('us'), anything else to String",
    )


def _holds_storable(dtype: pl.DataType) -> bool:
    if isinstance(dtype, pl.List):
        return dtype.inner.base_type() in _STORABLE
    if isinstance(dtype, pl.Struct):
        return all(field.dtype.base_type() in _STORABLE for field in dtype.fields)
    return False
