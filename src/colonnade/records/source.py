"""What landed: the files of a source, by digest."""

from __future__ import annotations

from dataclasses import dataclass


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
