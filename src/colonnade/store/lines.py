"""A damaged CSV line by line: what can be read, and the lines that cannot, each as it stands.

Only a file that the engine refuses, or in which it filled up a short line, is looked at this way.
A line is set aside by itself only where it is certain that the next one begins a row: behind a
quote that is opened and not closed as it should be nothing is certain, and the file is refused.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

import numpy as np
import polars as pl

from colonnade.records import cell

MAX_LINE_BYTES: Final = 16 << 20  # a longer one is read by nobody, and would fill the memory
_CHUNK: Final = 1 << 20
_FIELD: Final = rb'(?:"(?:[^"]|"")*+"|[^",]*+)'
_RECORD: Final = re.compile(rb"%s(?:,%s)*+" % (_FIELD, _FIELD))
_QUOTED: Final = re.compile(rb'"(?:[^"]|"")*+"')
_OPEN: Final = re.compile(rb'(?:%s,)*+"(?:[^"]|"")*+' % _FIELD)
_SPOILED: Final = pl.Schema(
    {"row": pl.Int64(), "reasons": pl.List(pl.String), "cells": pl.String()}
)

Spoiled = tuple[int, list[str], str]
"""A row's number, its reasons, what is kept of it."""


class LineError(ValueError):
    """Why a file cannot be read line by line: which line, and what is wrong with it."""


@dataclass(frozen=True, slots=True)
class Lines:
    """A file as far as it can be read.

    Attributes:
        rows: what can be read.
        places: the number of each such row in the file, from 0.
        spoiled: the others: ``row``, ``reasons`` and ``cells`` (the line, see
            ``records.cell``).
    """

    rows: pl.LazyFrame
    places: pl.Series
    spoiled: pl.DataFrame


def spoiled(found: list[Spoiled]) -> pl.DataFrame:
    """Lines that cannot be read, as a frame."""
    return pl.DataFrame(found, schema=_SPOILED, orient="row")


def split(file: BinaryIO) -> tuple[io.BytesIO, list[int], list[Spoiled]]:
    """Part a CSV into what can be read and the lines that cannot.

    Returns:
        A CSV of the readable rows, their numbers in the file, and the malformed lines.

    Raises:
        LineError: a quote is not closed as it should be, or a line is too long.
    """
    kept = io.BytesIO()
    places: list[int] = []
    bad: list[Spoiled] = []
    fields = -1
    for row, (number, record, lines) in enumerate(_records(file), start=-1):
        found = _count(record)
        if found < 0 and lines > 1:
            raise _not_closed(number)
        if row < 0:
            fields = found
            kept.write(record + b"\n")
        elif found == fields and _is_text(record):
            places.append(row)
            kept.write(record + b"\n")
        elif lines > 1:
            raise LineError(
                f"the row that begins in line {number} goes over {lines} lines and is not one of "
                f"{fields} cells in UTF-8"
            )
        else:
            bad.append((row, [cell.MALFORMED], cell.raw_line(record)))
    kept.seek(0)
    return kept, places, bad


def is_ragged(file: BinaryIO, fields: int, rows: int) -> bool:
    """Whether a CSV of `rows` rows that the engine read has fewer cells than `fields` a row."""
    separators, inside = 0, False
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        signs = np.frombuffer(chunk, np.uint8)
        commas = signs == ord(",")
        if inside or b'"' in chunk:
            quoted = np.logical_xor.accumulate(signs == ord('"')) ^ inside
            commas &= ~quoted
            inside = bool(quoted[-1])
        separators += int(np.count_nonzero(commas))
    return separators != (rows + 1) * (fields - 1)


def check_lengths(file: BinaryIO) -> None:
    """Refuse a line that is longer than `MAX_LINE_BYTES`, reading a little at a time.

    Raises:
        LineError: there is one.
    """
    length, number = 0, 1
    for chunk in iter(lambda: file.read(_CHUNK), b""):
        first = chunk.find(b"\n")
        if length + (len(chunk) if first < 0 else first) > MAX_LINE_BYTES:
            raise _too_long(number)
        number += chunk.count(b"\n") if first >= 0 else 0
        length = length + len(chunk) if first < 0 else len(chunk) - chunk.rfind(b"\n") - 1


def each(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file without their line feeds.

    Raises:
        LineError: one is too long.
    """
    number = 0
    while line := file.readline(MAX_LINE_BYTES + 2):
        number += 1
        if len(line) > MAX_LINE_BYTES + 1:
            raise _too_long(number)
        yield line.removesuffix(b"\n")


def _too_long(number: int) -> LineError:
    return LineError(f"line {number} is longer than {MAX_LINE_BYTES:,} bytes")


def _records(file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """The number of a row's first line, the row, and over how many lines it goes."""
    begun: list[bytes] = []
    since = size = 0
    for number, line in enumerate(each(file), start=1):
        since = since if begun else number
        begun.append(line)
        size += len(line) + 1
        if size > MAX_LINE_BYTES:
            break
        if b'"' in line or len(begun) > 1:
            quiet = b'"' not in line  # inside a quote nothing else ends it
            if quiet or _OPEN.fullmatch(b"\n".join(begun)):
                continue
        yield since, b"\n".join(begun).removesuffix(b"\r"), len(begun)
        begun, size = [], 0
    if begun:
        raise _not_closed(since)


def _not_closed(number: int) -> LineError:
    return LineError(f"line {number} opens a quote that is not closed as it should be")


def _count(record: bytes) -> int:
    """The number of cells, -1 where the quotes of a row are not as they should be."""
    if b'"' in record:
        if not _RECORD.fullmatch(record):
            return -1
        record = _QUOTED.sub(b"", record)
    return record.count(b",") + 1


def _is_text(record: bytes) -> bool:
    try:
        record.decode()
    except UnicodeDecodeError:
        return False
    return True
