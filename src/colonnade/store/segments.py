"""The index of flushed prediction segments: which table version holds which range of ids."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sa

from colonnade.records.table import Segment
from colonnade.store.database import Database
from colonnade.store.schema import segments


class Segments:
    """Adds segments in the transaction that names their rows; finds them by prediction id."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, connection: sa.Connection, version: int, added: Iterable[Segment]) -> None:
        """Index what a version of the endpoint's prediction table brought."""
        rows = [
            {
                "spool": segment.spool,
                "number": segment.number,
                "endpoint": segment.endpoint,
                "first_id": segment.first_id,
                "last_id": segment.last_id,
                "rows": segment.rows,
                "version": version,
            }
            for segment in added
        ]
        if rows:
            connection.execute(segments.insert(), rows)

    def known(self, spool: str) -> set[int]:
        """The numbers of a spool's segments that are flushed already."""
        query = sa.select(segments.c.number).where(segments.c.spool == spool)
        with self._database.read() as connection:
            return set(connection.execute(query).scalars())

    def find(self, prediction: str) -> list[tuple[str, int]]:
        """Endpoint and table version of the segments whose id range holds `prediction`."""
        query = sa.select(segments.c.endpoint, segments.c.version).where(
            segments.c.first_id <= prediction, segments.c.last_id >= prediction
        )
        with self._database.read() as connection:
            return [(row.endpoint, row.version) for row in connection.execute(query.distinct())]
