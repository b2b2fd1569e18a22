"""Outside places that a source's rows are asked from, opened for a session."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from colonnade.records.source import CursorValue, Rest, Sql
from colonnade.store.origins import Rows
from colonnade.store.origins.landing import Sheet

__all__ = ["Rows", "Sheet", "ask"]


@contextmanager
def ask(
    origin: Sql | Rest, source: str, key: Sequence[str], since: CursorValue | None, folder: Path
) -> Iterator[Rows]:
    """Ask for rows; the module of the origin's kind is loaded only where there is one.

    Args:
        origin: the declaration.
        source: its name.
        key: of its rows.
        since: from where; an interface is told.
        folder: for what must lie somewhere meanwhile.
    """
    what = f"source {source}"
    if isinstance(origin, Sql):
        from colonnade.store.origins.sql import open_sql  # noqa: PLC0415 (see above)

        with open_sql(origin, key, what) as query:
            yield query
    else:
        from colonnade.store.origins.rest import open_rest  # noqa: PLC0415 (see above)

        begin = None if since is None else str(since.value)
        with open_rest(origin, begin, folder, what) as answer:
            yield answer
