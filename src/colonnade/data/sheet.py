"""Quarantined rows as a file that a person mends, and such a file as corrections.

Cells are texts. In a CSV a cell that a spreadsheet would carry out (it begins with one of
``= + - @``, a tab or a carriage return, and is no number) gets an apostrophe before it, which is
taken off again when the file comes back.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.base.text import closest
from colonnade.data.cells import as_text
from colonnade.data.mend import cells_of
from colonnade.govern.session import Session
from colonnade.records import cell

ID: Final = "quarantine_id"
REASONS: Final = "quarantine_reasons"
LINE: Final = "quarantine_line"
FORMATS: Final = (".csv", ".jsonl", ".parquet")
_OURS: Final = (ID, REASONS, LINE)
_ACTS: Final = "=+-@\t\r"
_NUMBER: Final = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"


def export(session: Session, found: pl.DataFrame, path: Path) -> None:
    """Write rows of `quarantine.rows` to a file, whole or not at all.

    Raises:
        UsageError: CN-QUARANTINE-004, the file's name ends with none of `FORMATS`; -003, a column
            of the source is called as one of ours.
        UnavailableError: CN-DISK-001, CN-DISK-002.
    """
    if path.suffix not in FORMATS:
        raise UsageError(
            "CN-QUARANTINE-004",
            f"{path.name} ends with none of {', '.join(FORMATS)}",
            "name the file by one of them: colonnade data quarantine export SOURCE bad.csv",
        )
    frame = _frame(found)
    with session.new_file("read", path) as temporary:
        if path.suffix == ".csv":
            harmless = frame.select(guard(name) for name in frame.columns).rename(_guarded)
            harmless.write_csv(temporary)
        elif path.suffix == ".jsonl":
            frame.write_ndjson(temporary)
        else:
            frame.write_parquet(temporary)


def corrections(session: Session, path: Path) -> dict[str, dict[str, str | None]]:
    """A file of corrected rows: id of a row -> its cells as texts.

    Raises:
        UsageError: CN-QUARANTINE-003, it has no column ``quarantine_id``, or an id is missing or
            there twice; CN-SOURCE-…, it cannot be read.
    """
    lazy = session.open_file(path, ())
    schema = lazy.collect_schema()
    frame = lazy.select(as_text(name, dtype) for name, dtype in schema.items()).collect()
    if path.name.endswith((".csv", ".csv.gz", ".csv.zip")):
        frame = frame.rename(_bare)
        frame = frame.select(bare(name) for name in frame.columns)
    if ID not in frame.columns:
        raise _wrong(path, f"it has no column {ID}; {closest(ID, frame.columns)}")
    ids = frame[ID]
    if ids.null_count() or ids.is_duplicated().any():
        raise _wrong(path, f"a row names no {ID}, or one that another row names too")
    cells = frame.drop(_OURS, strict=False)
    return dict(zip(ids.to_list(), cells.to_dicts(), strict=True))


def guard(column: str) -> pl.Expr:
    """The texts of a column, none of which a spreadsheet carries out."""
    text = pl.col(column)
    acts = text.str.contains(rf"^['{re.escape(_ACTS)}]") & ~text.str.contains(_NUMBER)
    return pl.when(acts).then(pl.lit("'") + text).otherwise(text).alias(column)


def bare(column: str) -> pl.Expr:
    """What `guard` was given."""
    return pl.col(column).str.replace(rf"^'(['{re.escape(_ACTS)}])", "${1}")


def _guarded(name: str) -> str:
    return f"'{name}" if name.startswith(("'", *_ACTS)) else name


def _bare(name: str) -> str:
    return name[1:] if name.startswith("'") and name[1:].startswith(("'", *_ACTS)) else name


def _frame(found: pl.DataFrame) -> pl.DataFrame:
    kept = [json.loads(text) for text in found["cells"]]
    cells = [cells_of(text) or {} for text in found["cells"]]
    names = dict.fromkeys(name for row in cells for name in row)
    if taken := [name for name in names if name in _OURS]:
        raise UsageError(
            "CN-QUARANTINE-003",
            f"a column of the source is called {taken[0]}, as one of the export's own",
            "rename the column; or mend with --set",
        )
    lines = [_line(row) for row in kept]
    ours: dict[str, Iterable[Any]] = {
        ID: found["id"],
        REASONS: found["reasons"].list.join(", "),
        **({LINE: lines} if any(line is not None for line in lines) else {}),
    }
    columns = {name: [row.get(name) for row in cells] for name in names}
    return pl.DataFrame(ours | columns, schema=dict.fromkeys([*ours, *names], pl.String))


def _line(kept: Mapping[str, str]) -> str | None:
    """A line that could not be read: its text, or the base64 of its bytes."""
    text = kept.get(cell.LINE)
    return kept.get(cell.BYTES) if text is None else text


def _wrong(path: Path, what: str) -> UsageError:
    return UsageError(
        "CN-QUARANTINE-003",
        f"{path.name} holds no corrections: {what}",
        f"begin with an export, which has {ID}: colonnade data quarantine export SOURCE bad.csv",
    )
