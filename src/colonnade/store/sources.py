"""Landing files: finding, digesting and opening them. CSV, CSV in zip, Parquet."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.records.source import why_unreadable

# RuntimeError is how zipfile says that an archive is encrypted or packed in a way it cannot read.
_BAD_ZIP: Final = (zipfile.BadZipFile, zlib.error, RuntimeError)
SUFFIXES: Final = (".csv", ".csv.zip", ".parquet")
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
    """The rows of a file; CSV cells stay texts, so that the contract decides what they are.

    A column without a name, as R and pandas write the numbers of rows, is called by its place:
    ``column_1``.

    Args:
        path: the file.
        missing: texts that stand for a missing value, beside the empty one.

    Raises:
        UsageError: CN-SOURCE-003, the file cannot be read as what its name says; CN-SOURCE-004,
            another sign than the comma separates its columns.
    """
    check_format(path)
    try:
        if path.name.endswith(".parquet"):
            frame = pl.scan_parquet(path, glob=False)
        else:
            bytes_of = _csv(path)
            _check_header(path, _header(bytes_of))
            frame = pl.scan_csv(
                bytes_of,
                glob=False,  # a name with [ or * is a name
                infer_schema=False,
                null_values=list(missing),
                raise_if_empty=True,
            )
        columns = frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError, *_BAD_ZIP) as error:
        raise _unreadable(path, why_unreadable(error)) from error
    if len(columns) > MAX_COLUMNS:
        raise _unreadable(
            path, f"it has {len(columns):,} columns, expected {MAX_COLUMNS:,} at most"
        )
    if "" in columns:
        frame = frame.rename({"": f"column_{columns.index('') + 1}"})
    return frame


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
        "mend the file (a CSV in UTF-8 with commas, or Parquet) and run again",
    )


def _csv(path: Path) -> Path | io.BytesIO:
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
