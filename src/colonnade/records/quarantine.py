"""What became of rows in quarantine, and who let a stopped batch pass."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final, Literal

PREFIX: Final = "quarantine."
"""The table of a source's bad rows is called by this and the source's name."""
ID_DIGITS: Final = 12
"""Of a file's digest, in the id of a row."""
Landed = Literal["mended", "replayed"]
State = Literal["open", "mended", "replayed", "dropped", "left out"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """Quarantined rows of one file that came into the table with a version.

    Attributes:
        attempt: which try of theirs passed: 0 as they landed, then one more with each mend.
        rows: their numbers in the file, as spans (see `spans`).
    """

    file_sha256: str
    state: Landed
    attempt: int
    rows: str
    because: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Dropped:
    """Quarantined rows that will never come into the table.

    Attributes:
        rows: digest of the file -> numbers in it, as spans.
    """

    rows: dict[str, str]
    because: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A stopped batch that may pass: exactly these files, checked by exactly this contract.

    Attributes:
        stop: id of the entry that stopped it.
        files: digests.
    """

    stop: str
    contract: str
    files: tuple[str, ...]
    because: str | None = None


def row_id(file_sha256: str, row: int) -> str:
    """What a quarantined row is called: the beginning of its file's digest and its number."""
    return f"{file_sha256[:ID_DIGITS]}-{row}"


def spans(rows: Iterable[int]) -> str:
    """Numbers in short: ``3,7-9``."""
    found: list[list[int]] = []
    for row in sorted(set(rows)):
        if found and found[-1][1] == row - 1:
            found[-1][1] = row
        else:
            found.append([row, row])
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in found)


def numbers(text: str) -> Iterator[int]:
    """The numbers that `spans` wrote."""
    for span in text.split(",") if text else ():
        first, _, last = span.partition("-")
        yield from range(int(first), int(last or first) + 1)
