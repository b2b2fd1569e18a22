"""JSON lines: one object a line, its members the cells; a cell's kind counts, not only its text.

A line that is no object, or names a member twice, is malformed. A member that holds another kind
than the contract says (a text for a number, a number for a text, an object) spoils its row:
nothing is turned into another kind. A member that is absent or ``null`` is a missing cell.
"""

from __future__ import annotations

import codecs
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import BinaryIO, Final

import polars as pl

from colonnade.records import cell
from colonnade.records.cell import Cells
from colonnade.records.contract import LogicalType
from colonnade.store import lines
from colonnade.store.lines import LineError, Lines, Spoiled

_BLOCK: Final = 20_000
_NULL: Final = ("null", None)


def read(file: BinaryIO, types: Mapping[str, LogicalType]) -> Lines:
    """The objects of a file as rows of texts, as far as their kinds are those of a contract.

    Args:
        file: the bytes.
        types: column -> type; a column that no line has is missing in every row. None: each
            column has the type that all of its members have.

    Raises:
        LineError: a line is too long.
    """
    if not types:
        return Lines(guess(file, tolerant=True), pl.Series(dtype=pl.Int64), lines.spoiled([]))
    places: list[int] = []
    bad: list[Spoiled] = []
    frames = [pl.DataFrame(schema=dict.fromkeys(types, pl.String))]
    numbered = _lines(file)
    while block := list(islice(numbered, _BLOCK)):
        rows = list(_readable(block, types, places, bad))
        names = {name: None for row in rows for name in row}
        columns = {name: [row.get(name) for row in rows] for name in names}
        frames.append(pl.DataFrame(columns, schema=dict.fromkeys(columns, pl.String)))
    frame = pl.concat(frames, how="diagonal")
    return Lines(frame.lazy(), pl.Series(places, dtype=pl.Int64), lines.spoiled(bad))


def guess(file: BinaryIO, *, tolerant: bool = False) -> pl.LazyFrame:
    """The objects of a file in the types that all of their members have.

    Args:
        file: the bytes.
        tolerant: whether a malformed line is passed over.

    Raises:
        LineError: a line is malformed or too long, or a member holds several kinds.
    """
    rows: list[Cells] = []
    for number, line in _lines(file):
        cells = cell.members(line)
        if cells is None and tolerant:
            continue
        if cells is None:
            raise LineError(f"line {number + 1} is no JSON object that names each member once")
        rows.append(cells)
    names = dict.fromkeys(name for row in rows for name in row)
    return pl.DataFrame([_column(name, rows) for name in names]).lazy()


def _lines(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers from 0."""
    for number, line in enumerate(lines.each(file)):
        text = (line.removeprefix(codecs.BOM_UTF8) if number == 0 else line).strip(b" \t\r")
        if text:
            yield number, text


def _readable(
    block: Sequence[tuple[int, bytes]],
    types: Mapping[str, LogicalType],
    places: list[int],
    bad: list[Spoiled],
) -> Iterator[dict[str, str | None]]:
    for row, line in block:
        cells = cell.members(line)
        if cells is None:
            bad.append((row, [cell.MALFORMED], cell.raw_line(line)))
        elif reasons := cell.wrong(cells, types):
            bad.append((row, reasons, cell.raw_object(line)))
        else:
            places.append(row)
            yield cell.texts(cells)


def _column(name: str, rows: Sequence[Cells]) -> pl.Series:
    cells = [row.get(name, _NULL) for row in rows]
    kinds = {kind for kind, _ in cells} - {"null"}
    if "nested" in kinds:
        raise LineError(
            f"the member {name[:60]!r} holds an object or a list, expected a text, a number, a "
            "flag or null (write each of its parts as a member of its own)"
        )
    if len(kinds) > 1:
        raise LineError(f"the member {name[:60]!r} holds {'s and '.join(sorted(kinds))}s")
    texts = pl.Series(name, [text for _, text in cells], dtype=pl.String)
    if kinds == {"flag"}:
        return texts == "true"
    if kinds != {"number"}:
        return texts
    whole = texts.cast(pl.Int64, strict=False)
    return whole if whole.null_count() == texts.null_count() else texts.cast(pl.Float64)
