"""Delta tables on local files: writing a version, reading one, and what nobody named.

A commit carries the draft of its ledger entry as metadata (`DRAFT`), so that whoever finds a
Delta version without an entry can adopt it exactly, or undo it.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import unquote

import polars as pl
from deltalake import CommitProperties, DeltaTable, PostCommitHookProperties, write_deltalake
from deltalake.exceptions import CommitFailedError, DeltaError

from colonnade.base import disk
from colonnade.base.errors import UsageError
from colonnade.records.table import GONE, Span, WriteMode
from colonnade.store import durable
from colonnade.store.columns import storable

_Filters = list[tuple[str, str, object]] | list[list[tuple[str, str, object]]]
DRAFT: Final = "colonnade"
# Delta would delete the log of versions older than 30 days with every hundredth commit.
_KEEP: Final = PostCommitHookProperties(cleanup_expired_logs=False)
FILE_BYTES: Final = 8 << 20
"""A merge rewrites whole files: into small ones it is twenty times as fast as into Delta's."""
_SETTINGS: Final = {
    "delta.targetFileSize": str(FILE_BYTES),
    "delta.checkpointInterval": "50",
}


class Overtaken(Exception):  # noqa: N818 (no fault: what to do about it is the writer's to say)
    """Another program committed to the table meanwhile; nothing of ours is in it."""


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
        self,
        name: str,
        frame: pl.DataFrame,
        mode: WriteMode,
        draft: str,
        *,
        key: Sequence[str] = (),
        spans: tuple[str, Sequence[Span]] | None = None,
    ) -> int:
        """Commit rows as a new Delta version; returns its number.

        The caller holds the table's writer lease and has named or undone all versions before.

        Args:
            name: of the table.
            frame: the rows; of a merge one a key, `GONE` in those whose key leaves the table.
            mode: how they come in.
            draft: of the entry that will name the version.
            key: what a merge goes by.
            spans: column of time, and the stretches that the rows replace; None: all.

        Raises:
            UsageError: CN-TABLE-001, a type that a table cannot hold; CN-TABLE-002, appended
                columns that are not the table's.
            UnavailableError: CN-DISK-001, CN-DISK-002.
            Overtaken: another program committed meanwhile.
        """
        frame = storable(name, frame)
        path = self._path(name)
        there = self._exists(name)
        if there and (mode != "replace" or spans is not None):
            frame = self._fitting(name, frame)
        with _writing(path):
            if mode == "merge" and there and frame.height:
                self._merge(name, frame, draft, key)
            elif mode != "replace":
                self._append(name, _staying(frame), draft)
            else:
                within = _within(frame, *spans) if there and spans is not None else None
                self._put(name, frame, draft, within)
        return DeltaTable(path).version()

    def compact(self, name: str, draft: str) -> int:
        """Make few files of many small ones; returns the number of the newest Delta version.

        The rows and their order stay. Versions before keep their files.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002.
            Overtaken: another program committed meanwhile.
        """
        table = DeltaTable(self._path(name))
        with _writing(self._path(name)):
            table.optimize.compact(
                target_size=FILE_BYTES,
                commit_properties=_properties(draft),
                post_commithook_properties=_KEEP,
            )
        return DeltaTable(self._path(name)).version()

    def scan(self, name: str, delta_version: int) -> pl.LazyFrame:
        """The rows of one Delta version."""
        return pl.scan_delta(_Table(self._path(name), version=delta_version))

    def changed(self, name: str, before: int, now: int) -> tuple[pl.LazyFrame, pl.LazyFrame]:
        """The rows in files that came between two versions, and the rows in files that went.

        A row may be in both: where a merge rewrote its file, and after a compaction.
        """
        came = self._files(name, now) - self._files(name, before)
        went = self._files(name, before) - self._files(name, now)
        schema = self.scan(name, now).collect_schema()
        return _open(came, schema), _open(went, schema)

    def files(self, name: str, delta_version: int) -> list[Path]:
        """The data files of a version."""
        return sorted(map(Path, self._files(name, delta_version)))

    def everything(self, name: str) -> list[Path]:
        """Every file in a table's folder that is not of its log: also what a kill left behind."""
        root = self._path(name)
        log = root / "_delta_log"
        return sorted(
            path for path in root.rglob("*") if path.is_file() and not path.is_relative_to(log)
        )

    def delete(self, name: str, files: Iterable[Path]) -> int:
        """Delete files of a table that no version needs; returns how many bytes went.

        Raises:
            UnavailableError: CN-DISK-001, CN-DISK-002; what went is gone, the rest is there.
        """
        root = self._path(name)
        went = 0
        with _writing(root):
            for path in files:
                if path.is_file():
                    size = path.stat().st_size
                    path.unlink()
                    went += size
            if root.is_dir():
                durable.sync(root)
        return went

    def place(self, name: str, part: str) -> Path:
        """Where a data file lies that an entry names by its relative path."""
        return self._path(name) / part

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

    def _put(self, name: str, frame: pl.DataFrame, draft: str, where: str | None) -> None:
        path = self._path(name)
        path.mkdir(parents=True, exist_ok=True)
        write_deltalake(
            path,
            frame,
            mode="overwrite",
            schema_mode="overwrite" if where is None else "merge",
            predicate=where,
            configuration=None if self._exists(name) else _SETTINGS,
            target_file_size=FILE_BYTES,
            commit_properties=_properties(draft),
            post_commithook_properties=_KEEP,
        )

    def _append(self, name: str, frame: pl.DataFrame, draft: str) -> None:
        path = self._path(name)
        path.mkdir(parents=True, exist_ok=True)
        write_deltalake(
            path,
            frame,
            mode="append",
            schema_mode="merge",
            configuration=None if self._exists(name) else _SETTINGS,
            target_file_size=FILE_BYTES,
            commit_properties=_properties(draft),
            post_commithook_properties=_KEEP,
        )

    def _merge(self, name: str, frame: pl.DataFrame, draft: str, key: Sequence[str]) -> None:
        """Rows whose key is there take the place of the old ones, the others are added."""
        there = self.scan(name, DeltaTable(self._path(name)).version()).collect_schema()
        frame = frame.with_columns(
            pl.lit(None, dtype).alias(column)
            for column, dtype in there.items()
            if column not in frame.columns
        )
        rows = [column for column in frame.columns if column != GONE]
        merger = DeltaTable(self._path(name)).merge(
            frame if GONE in frame.columns else frame.with_columns(pl.lit(False).alias(GONE)),
            _matches(frame, key),
            source_alias="came",
            target_alias="was",
            merge_schema=True,
            streamed_exec=False,
            commit_properties=_properties(draft),
            post_commithook_properties=_KEEP,
        )
        values = {_name(column): f"came.{_name(column)}" for column in rows}
        gone = f"came.{_name(GONE)}"
        (
            merger.when_matched_delete(predicate=gone)
            .when_matched_update(values)
            .when_not_matched_insert(values, predicate=f"NOT {gone}")
            .execute()
        )

    def _fitting(self, name: str, frame: pl.DataFrame) -> pl.DataFrame:
        """The frame, if its columns are the table's as far as both have them."""
        have = dict(self.scan(name, DeltaTable(self._path(name)).version()).collect_schema())
        for column, dtype in frame.schema.items():
            if have.get(column, dtype) != dtype:
                raise UsageError(
                    "CN-TABLE-002",
                    f"table {name}: column {column} came as {dtype}, the table has {have[column]}",
                    f"cast it in the step that makes {name}, or give the new column another name",
                )
        return frame

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


def _staying(frame: pl.DataFrame) -> pl.DataFrame:
    return frame.filter(~pl.col(GONE)).drop(GONE) if GONE in frame.columns else frame


def _matches(frame: pl.DataFrame, key: Sequence[str]) -> str:
    """A row is met by its key; the keys' range lets Delta leave out the files without any."""
    terms = [f"came.{_name(column)} = was.{_name(column)}" for column in key]
    for column in key:
        low, high = frame[column].min(), frame[column].max()
        if type(low) is int and type(high) is int:  # what has a form in SQL that nothing bends
            terms.append(f"was.{_name(column)} >= {low} AND was.{_name(column)} <= {high}")
    return " AND ".join(terms)


def _within(frame: pl.DataFrame, column: str, spans: Sequence[Span]) -> str:
    """A condition in SQL that holds for the rows of these stretches of time."""
    dtype = frame.schema[column]
    zone = "Z" if isinstance(dtype, pl.Datetime) and dtype.time_zone else ""
    name = _name(column)

    def moment(day: dt.date) -> str:
        return f"'{day.isoformat()}'" if dtype == pl.Date else f"'{day.isoformat()}T00:00:00{zone}'"

    return " OR ".join(
        f"({name} >= {moment(span.start)} AND {name} < {moment(span.end)})" for span in spans
    )


def _name(column: str) -> str:
    """A column's name in SQL."""
    return '"' + column.replace('"', '""') + '"'


def _open(files: set[str], schema: pl.Schema) -> pl.LazyFrame:
    if not files:
        return pl.LazyFrame(schema=schema)
    return pl.scan_parquet(
        sorted(files), schema=schema, missing_columns="insert", extra_columns="ignore", glob=False
    )


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say plainly what the disk refused."""
    try:
        yield
    except CommitFailedError as error:
        raise Overtaken from error
    except (DeltaError, OSError) as error:
        if disk.number_of(error) is None:
            raise
        raise disk.refused(error, path) from error


def _properties(draft: str) -> CommitProperties:
    return CommitProperties(custom_metadata={DRAFT: draft})
