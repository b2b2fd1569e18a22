"""Where rows that were asked for lie from their arrival until a table version holds them.

A file is there whole or not at all. A note beside it says that it is being taken over: from then
on the same bytes are taken over again after a kill, so that what was written of them already
(rows in quarantine) is found written. A file without a note is asked for anew.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import polars as pl

from colonnade.base import disk, ids
from colonnade.records import canonical
from colonnade.records.canonical import Json
from colonnade.store import durable

_ROWS: Final = 100_000  # in a row group: what is in memory at a time
_NOTE: Final = ".json"
_NUMBERED: Final = re.compile(r"\.?[0-9]+\.")  # a slice, its note, and the parts of both


class Sheet:
    """A file that grows by frames of the same columns."""

    def __init__(self, folder: Path, name: str) -> None:
        self._folder = folder
        self._stem = f".{name}.{ids.uuid7()}"
        self._parts: list[Path] = []
        self.path = folder / name
        self.rows = 0

    def add(self, frame: pl.DataFrame) -> None:
        """Add rows; the first frame may have none and says what the columns are."""
        if not frame.height and self._parts:
            return
        part = self._folder / f"{self._stem}.{len(self._parts)}"
        self._parts.append(part)
        with _writing(part):
            frame.write_parquet(part, compression="lz4")
        self.rows += frame.height

    def close(self) -> None:
        """Write the file."""
        with _writing(self.path), durable.whole(self.path) as temporary:
            joined = pl.scan_parquet(self._parts, glob=False)
            joined.sink_parquet(temporary, row_group_size=_ROWS)

    def drop_parts(self) -> None:
        """Leave nothing but the file."""
        for part in self._parts:
            part.unlink(missing_ok=True)


class Landing:
    """The landing folders of a project's sources that are asked for rows."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def folder(self, source: str) -> Path:
        """The folder of a source."""
        folder = self._root / source
        if not folder.is_dir():
            with durable.writing(folder):
                folder.mkdir(parents=True, exist_ok=True)
                durable.sync(self._root)
                durable.sync(self._root.parent)
        return folder

    @contextmanager
    def sheet(self, source: str, name: str) -> Iterator[Sheet]:
        """A new file, which is there at the end."""
        folder = self.folder(source)
        sheet = Sheet(folder, name)
        try:
            yield sheet
            sheet.close()
        finally:
            sheet.drop_parts()

    def keep(self, path: Path, note: Json) -> None:
        """Say that a file is being taken over."""
        durable.write(_note(path), canonical.encode(note))

    def kept(self, source: str, name: str) -> tuple[Path, Json] | None:
        """The file of this name that is being taken over, and its note."""
        path = self._root / source / name
        if not _note(path).is_file() or not path.is_file():
            return None
        return path, canonical.decode(_note(path).read_bytes())

    def clear(self, source: str) -> None:
        """Remove what was asked for: a table version holds its rows, or none ever will.

        Pushes that wait are left: the source may have been one that was pushed to.
        """
        folder = self._root / source
        for path in folder.iterdir() if folder.is_dir() else ():
            if _NUMBERED.match(path.name):
                path.unlink(missing_ok=True)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Say plainly what the disk refused; the engine hides it in an error of its own."""
    try:
        yield
    except (pl.exceptions.PolarsError, OSError) as error:
        if disk.number_of(error) is None:
            raise
        raise disk.refused(error, path) from error


def read_frame(data: bytes) -> pl.DataFrame:
    """A frame that was written as Parquet."""
    return pl.read_parquet(io.BytesIO(data))


def _note(path: Path) -> Path:
    return path.with_suffix(_NOTE)
