"""Outside places that rows are asked from, one module each, and what they have in common."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

import polars as pl

from colonnade.records.source import CursorValue


class Rows(Protocol):
    """An origin that was opened: one state of it, for as long as it is open."""

    columns: Mapping[str, pl.DataType]
    ordered: bool
    """Whether rows come in the order of the cursor."""
    loose: bool
    """Whether each value has a type of its own, so that a column's follows from its values."""

    def rows(
        self, since: CursorValue | None, below: CursorValue | None = None, only: Sequence[str] = ()
    ) -> Iterator[pl.DataFrame]:
        """Rows from a point of the cursor on, those without a value too; or only those below.

        Args:
            since: None for all.
            below: leave out what is not below it, and what has no value.
            only: these columns; empty for all.
        """
        ...

    def count(self, upto: CursorValue) -> int | None:
        """How many rows are at or before a point, or have no value; None where it cannot say."""
        ...
