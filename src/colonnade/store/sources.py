"""Landing files: finding, digesting and opening them. CSV, CSV in zip, Parquet."""

from __future__ import annotations

import hashlib
import io
import zipfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import polars as pl

from colonnade.base.errors import UsageError

# RuntimeError is how zipfile says that an archive is encrypted or packed in a way it cannot read.
_BAD_ZIP: Final = (zipfile.BadZipFile, zlib.error, RuntimeError)
SUFFIXES: Final = (".csv", ".csv.zip", ".parquet")
_SEPARATORS: Final = {";": "semicolons", "\t": "tabs", "|": "bars"}


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
    found = sorted(path for path in folder.glob(pattern) if path.is_file())
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
    """SHA-256 of a file's bytes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


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
    try:
        if path.name.endswith(".parquet"):
            frame = pl.scan_parquet(path, glob=False)
        else:
            frame = pl.scan_csv(
                _csv(path),
                glob=False,  # a name with [ or * is a name
                infer_schema=False,
                null_values=list(missing),
                raise_if_empty=True,
            )
        names = frame.collect_schema().names()
    except (pl.exceptions.PolarsError, OSError, *_BAD_ZIP) as error:
        raise UsageError(
            "CN-SOURCE-003", f"{path.name} cannot be read: {error}", "mend the file and run again"
        ) from error
    _check_separator(path, names)
    if "" in names:
        frame = frame.rename({"": f"column_{names.index('') + 1}"})
    return frame


def _check_separator(path: Path, names: Sequence[str]) -> None:
    """A file with another separator has one column, whose name holds all names."""
    found = [sign for sign in _SEPARATORS if len(names) == 1 and sign in names[0]]
    if found and not path.name.endswith(".parquet"):
        word, sign = _SEPARATORS[found[0]], repr(found[0])
        raise UsageError(
            "CN-SOURCE-004",
            f"{path.name}: its columns are separated by {word}, expected commas",
            'write it with commas and decimal points: python -c "import polars as pl; '
            f"pl.read_csv('{path.name}', separator={sign}, decimal_comma={found[0] == ';'})"
            ".write_csv('with_commas.csv')\"",
        )


def _csv(path: Path) -> Path | io.BytesIO:
    if not path.name.endswith(".zip"):
        return path
    with zipfile.ZipFile(path) as archive:
        inside = [name for name in archive.namelist() if name.endswith(".csv")]
        if len(inside) != 1:
            raise UsageError(
                "CN-SOURCE-003",
                f"{path.name} holds {len(inside)} CSV files, expected exactly one",
                "zip one CSV file by itself",
            )
        return io.BytesIO(archive.read(inside[0]))
