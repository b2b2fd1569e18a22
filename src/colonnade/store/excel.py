"""Excel: the first sheet of a workbook as texts, like a CSV."""

from __future__ import annotations

import posixpath
import re
import zipfile
from pathlib import Path
from typing import Final

import fastexcel
import polars as pl

_ERROR: Final = re.compile(rb'<c r="([A-Z]+[0-9]+)"[^>]*\bt="e"')
_SHEET: Final = re.compile(rb'<sheet\b[^>]*\br:id="([^"]+)"')
_TARGET: Final = re.compile(rb'<Relationship\b(?=[^>]*\bId="%s")[^>]*\bTarget="([^"]+)"')
_MIDNIGHT: Final = r"^([0-9]{4}-[0-9]{2}-[0-9]{2}) 00:00:00$"


def read(path: Path, limit_bytes: int) -> pl.DataFrame:
    """The cells of the first sheet, each as a text; the first row too.

    A column in which every time is a midnight has dates: a workbook knows no other.

    Raises:
        ValueError: it is no workbook, holds more than `limit_bytes` when it is unpacked, or a cell
            holds an error, which would be read as a missing one.
        zipfile.BadZipFile: it is no workbook.
    """
    with zipfile.ZipFile(path) as archive:
        size = sum(part.file_size for part in archive.infolist())
        if size > limit_bytes:
            raise ValueError(f"it holds {size:,} bytes, expected {limit_bytes:,} at most")
        if error := _ERROR.search(_first_sheet(archive)):
            raise ValueError(f"cell {error[1].decode()} holds an error, expected a value")
    try:
        cells = fastexcel.read_excel(path).load_sheet(0, header_row=None, dtypes="string")
        frame = cells.to_polars()
    except fastexcel.FastExcelError as error:
        raise ValueError(str(error).partition("\n")[0]) from error
    return frame.select(_days(column) for column in frame)


def _first_sheet(archive: zipfile.ZipFile) -> bytes:
    try:
        found = _SHEET.search(archive.read("xl/workbook.xml"))
        wanted = re.escape(found[1]) if found else b""
        named = archive.read("xl/_rels/workbook.xml.rels")
        target = re.search(_TARGET.pattern % wanted, named)
        place = target[1].decode() if target else ""
        return archive.read(posixpath.join("/xl", place)[1:])
    except KeyError as error:
        raise ValueError("it is no workbook") from error


def _days(column: pl.Series) -> pl.Series:
    """Dates without the midnight that the first row, which is a name, has not."""
    cells = column[1:].drop_nulls()
    if not len(cells) or not cells.str.contains(_MIDNIGHT).all():
        return column
    return column.str.replace(_MIDNIGHT, "$1")
