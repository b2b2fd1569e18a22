"""Where a source's rows come from, and what landed: files, by digest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

JSON_SUFFIXES: Final = (".jsonl", ".ndjson", ".jsonl.gz", ".ndjson.gz")
_READERS_WORDS: Final = {  # what a reader says, which may quote a cell -> what it means
    "found more fields": "a line has more cells than the first line has names",
    "could not parse": "a quote is opened and not closed, or stands inside a cell that has none",
    "invalid utf-8": "it is no text in UTF-8",
    "is encrypted": "it is encrypted, expected a zip without a password",
    "end-of-stream marker": "it ends in the middle",
    "Not a gzipped file": "it is no gzip",
    "empty CSV": "it is empty, expected a line with the names of the columns",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Files:
    """Files that land in the project's folder.

    Attributes:
        path: a file or a glob, relative to the project's folder.
    """

    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LandedFile:
    """One file as it was read.

    Attributes:
        path: relative to the project folder, with forward slashes.
        rows: rows read from it, good and bad.
    """

    path: str
    sha256: str
    size_bytes: int
    rows: int


def why_unreadable(error: BaseException) -> str:
    """Why a file cannot be read, in one line and without a cell of it."""
    said = str(error).partition("\n")[0]
    return next((meant for words, meant in _READERS_WORDS.items() if words in said), said)
