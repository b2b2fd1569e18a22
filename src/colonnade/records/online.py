"""What is true of a key from a moment on, as an online table holds it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

Key = Sequence[object]


@dataclass(frozen=True, slots=True)
class Fact:
    """One row of a key.

    Attributes:
        seen_us: the moment from which it is true and known, in microseconds since 1970.
        values: in the order of the table's columns.
    """

    seen_us: int
    values: Sequence[object]


@dataclass(frozen=True, slots=True, kw_only=True)
class Published:
    """What an online table says of itself.

    Attributes:
        version: of the table, which it holds.
    """

    version: int
    columns: tuple[str, ...]
