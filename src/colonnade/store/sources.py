"""Landing files: finding, digesting and opening them. CSV, JSON lines, Excel, Parquet."""

from __future__ import annotations

import gzip
import hashlib
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO, Final

import polars as pl

from colonnade.base.errors import UnavailableError, UsageError
from colonnade.records.contract import LogicalType
from colonnade.records.source import JSON_SUFFIXES, why_unreadable
from colonnade.store import jsonlines, lines
from colonnade.store.lines import LineError, Lines

# RuntimeError is how zipfile says that an archive is encrypted or packed in a way it cannot read.
_BAD_ZIP: Final = (zipfile.BadZipFile, zlib.error, RuntimeError, gzip.BadGzipFile, EOFError)
_CSV: Final = (".csv", ".csv.zip", ".csv.gz")
SUFFIXES: Final = (*_CSV, *JSON_SUFFIXES, ".xlsx", ".parquet")
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}
MAX_COLUMNS: Final = 2_000  # each is checked by several expressions in one plan
MAX_UNZIPPED_BYTES: Final = 1 << 30  # what a zip holds is read into memory
_CONTROL: Final = re.compile(r"[\x00-\x08\x0a-\x1f]")


def find(folder: Path, pattern: str) -> list[Path]:
    """The files of a source in the order of their names.

    Raises:
        UsageError: CN-SOURCE-001, the path leaves the project folder; CN-SOURCE-002, a format
            that is not read.
    """
    if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
        raise UsageError(
            "CN-SOURCE-001",
            f"the path {pattern!r} leads out of the project folder",
            "put the files, or a link to their folder, into the project",
        )
    try:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
    except (OSError, ValueError, IndexError) as error:
        raise UsageError(
            "CN-SOURCE-001",
            f"the path {pattern[:100]!r} cannot be looked for: {error}",
            "name a file or a glob in the project's folder",
        ) from error
    for path in found:
        check_format(path)
    return found


def check_format(path: Path) -> str:
    """The suffix that says how a file is read.

    Raises:
        UsageError: CN-SOURCE-002, a format that is not read.
    """
    for suffix in SUFFIXES:
        if path.name.endswith(suffix):
            return suffix
    raise UsageError(
        "CN-SOURCE-002",
        f"{path.name} is none of {', '.join(SUFFIXES)}",
        "convert the file, or narrow the pattern of the source",
    )


def digest(path: Path) -> str:
    """SHA-256 of a file's bytes.

    Raises:
        UsageError: CN-SOURCE-003, it cannot be read.
    """
    try:
        if not path.is_file():
            raise _unreadable(path, "it is no regular file")
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, str(error.strerror)) from error


def open_file(path: Path, missing: Sequence[str]) -> pl.LazyFrame:
    """The rows of a file; CSV and Excel cells stay texts, so that the contract decides.

    A column without a name, as R and pandas write the numbers of rows, is called by its place:
    ``column_1``.

    Args:
        path: the file.
        missing: texts that stand for a missing value, beside the empty one.

    Raises:
        UsageError: CN-SOURCE-003, the file cannot be read as what its name says; CN-SOURCE-004,
            another sign than the comma separates its columns.
        UnavailableError: CN-SOURCE-005, what reads this format is not installed.
    """
    suffix = check_format(path)
    with _reading(path):
        if suffix == ".parquet":
            frame = pl.scan_parquet(path, glob=False)
        elif suffix in JSON_SUFFIXES:
            with _opened(path) as file:
                frame = jsonlines.guess(file)
        elif suffix == ".xlsx":
            frame = _sheet(path, missing)
        else:
            frame = _table(path, _bytes_of(path), missing)
        return _named(frame)


def open_lines(
    path: Path, missing: Sequence[str], types: Mapping[str, LogicalType]
) -> Lines | None:
    """A file as far as it can be read, and the lines of it that cannot; None for binary formats.

    Args:
        path: the file.
        missing: texts that stand for a missing value, beside the empty one.
        types: column -> type, which a member of a JSON object must have; none: what each has.

    Raises:
        UsageError: CN-SOURCE-003, the file cannot be read line by line; CN-SOURCE-004.
    """
    suffix = check_format(path)
    if suffix not in (*_CSV, *JSON_SUFFIXES):
        return None
    with _reading(path), _opened(path) as file:
        if suffix in JSON_SUFFIXES:
            found = jsonlines.read(file, types)
            return Lines(_named(found.rows), found.places, found.spoiled)
        if path.stat().st_size > MAX_UNZIPPED_BYTES:
            raise LineError(
                f"it is damaged and larger than {MAX_UNZIPPED_BYTES:,} bytes, up to which the "
                "damaged lines are told from the others"
            )
        kept, places, bad = lines.split(file)
        frame = _named(_table(path, kept, missing))
        return Lines(frame, pl.Series(places, dtype=pl.Int64), lines.spoiled(bad))


def is_ragged(path: Path, columns: int, rows: int) -> bool:
    """Whether a row of a CSV has fewer cells than columns, which the engine fills up silently.

    Args:
        path: the file.
        columns: that its first line names.
        rows: that the engine read from it.

    Raises:
        UsageError: CN-SOURCE-003, it cannot be read.
    """
    if check_format(path) not in _CSV or columns == 1:
        return False
    with _reading(path), _opened(path) as file:
        return lines.is_ragged(file, columns, rows)


@contextmanager
def _reading(path: Path) -> Iterator[None]:
    try:
        yield
    except (pl.exceptions.PolarsError, OSError, ValueError, *_BAD_ZIP) as error:
        raise _unreadable(path, why_unreadable(error)) from error


@contextmanager
def _opened(path: Path) -> Iterator[BinaryIO]:
    bytes_of = _bytes_of(path)
    if isinstance(bytes_of, io.BytesIO):
        yield bytes_of
    else:
        with bytes_of.open("rb") as file:
            yield file


def _table(path: Path, bytes_of: Path | io.BytesIO, missing: Sequence[str]) -> pl.LazyFrame:
    _check_lengths(bytes_of)
    _check_header(path, _header(bytes_of))
    return pl.scan_csv(
        bytes_of,
        glob=False,  # a name with [ or * is a name
        infer_schema=False,
        null_values=list(missing),
        raise_if_empty=True,
    )


def _sheet(path: Path, missing: Sequence[str]) -> pl.LazyFrame:
    try:
        from colonnade.store import excel  # noqa: PLC0415 (an extra: only who has a workbook)
    except ModuleNotFoundError as error:
        raise UnavailableError(
            "CN-SOURCE-005",
            f"{path.name} is an Excel workbook, and what reads it is not installed",
            "install it: pip install 'colonnade[excel]'; or save the sheet as a CSV",
        ) from error
    cells = excel.read(path, MAX_UNZIPPED_BYTES)
    if not cells.height:
        raise LineError("its first sheet is empty, expected a line with the names of the columns")
    names = [name or "" for name in cells.row(0)]
    _check_header(path, names)
    rows = cells[1:].rename(dict(zip(cells.columns, names, strict=True)))
    text = pl.all()
    return rows.lazy().select(pl.when(~text.is_in([*missing, ""])).then(text))


def _named(frame: pl.LazyFrame) -> pl.LazyFrame:
    columns = frame.collect_schema().names()
    if len(columns) > MAX_COLUMNS:
        raise LineError(f"it has {len(columns):,} columns, expected {MAX_COLUMNS:,} at most")
    if "" in columns:
        frame = frame.rename({"": f"column_{columns.index('') + 1}"})
    return frame


def _check_lengths(bytes_of: Path | io.BytesIO) -> None:
    if isinstance(bytes_of, io.BytesIO):
        lines.check_lengths(bytes_of)
        bytes_of.seek(0)
    else:
        with bytes_of.open("rb") as file:
            lines.check_lengths(file)


def _check_separator(path: Path, names: Sequence[str]) -> None:
    """A file with another separator has one column, whose name holds all names."""
    found = [sign for sign in _SEPARATORS if len(names) == 1 and sign in names[0]]
    if found:
        word, sign = _SEPARATORS[found[0]], repr(found[0])
        raise UsageError(
            "CN-SOURCE-004",
            f"{path.name}: its columns are separated by {word}, expected commas",
            'write it with commas and decimal points: python -c "import polars as pl; '
            f"pl.read_csv('{path.name}', separator={sign}, decimal_comma={found[0] == ';'})"
            ".write_csv('with_commas.csv')\"",
        )


def _header(bytes_of: Path | io.BytesIO) -> list[str]:
    """The names of the columns as they are written: the engine would rename the second of two."""
    first = pl.read_csv(
        bytes_of, has_header=False, n_rows=1, infer_schema=False, glob=False, raise_if_empty=True,
        truncate_ragged_lines=True,
    )  # fmt: skip
    if isinstance(bytes_of, io.BytesIO):
        bytes_of.seek(0)
    return [name or "" for name in first.row(0)] if first.height else []


def _check_header(path: Path, names: list[str]) -> None:
    """Refuse what can be read as a CSV and is none: everything behind it would mean nothing."""
    if any(_CONTROL.search(name) for name in names):
        raise _unreadable(path, "its first line is no text in UTF-8 that ends with a line feed")
    if twice := [name for name, count in Counter(names).items() if count > 1]:
        raise _unreadable(path, f"its first line names the column {twice[0][:60]!r} twice")
    _check_separator(path, names)


def _unreadable(path: Path, why: str) -> UsageError:
    return UsageError(
        "CN-SOURCE-003",
        f"{path.name} cannot be read: {why}",
        "mend the file (a CSV in UTF-8 with commas, JSON lines, or Parquet) and run again",
    )


def _bytes_of(path: Path) -> Path | io.BytesIO:
    if path.name.endswith(".gz"):
        return _unpacked(path)
    if not path.name.endswith(".zip"):
        return path
    with zipfile.ZipFile(path) as archive:
        inside = [found for found in archive.infolist() if found.filename.endswith(".csv")]
        if len(inside) != 1:
            raise UsageError(
                "CN-SOURCE-003",
                f"{path.name} holds {len(inside)} CSV files, expected exactly one",
                "zip one CSV file by itself",
            )
        if inside[0].file_size > MAX_UNZIPPED_BYTES:  # a reader never gets more than it says
            raise UsageError(
                "CN-SOURCE-003",
                f"{path.name} holds {inside[0].file_size:,} bytes, expected "
                f"{MAX_UNZIPPED_BYTES:,} at most",
                "unzip it: a CSV that is no zip may be larger than the memory",
            )
        return io.BytesIO(archive.read(inside[0]))


def _unpacked(path: Path) -> io.BytesIO:
    """What a gzip holds; how much it is shows only as it is read."""
    with gzip.open(path) as file:
        found = file.read(MAX_UNZIPPED_BYTES + 1)
    if len(found) > MAX_UNZIPPED_BYTES:
        raise UsageError(
            "CN-SOURCE-003",
            f"{path.name} holds more than {MAX_UNZIPPED_BYTES:,} bytes, expected that at most",
            "unpack it: a file that is not packed may be larger than the memory",
        )
    return io.BytesIO(found)
