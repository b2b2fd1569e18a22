"""Params and metrics of runs: rows, not entries; the closing entry carries their digest."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

import sqlalchemy as sa

from colonnade.base import clock
from colonnade.base.errors import UsageError
from colonnade.records import canonical
from colonnade.store.database import Database
from colonnade.store.schema import metrics, params

Point = tuple[str, int, float]


class Runs:
    """What the tracker keeps of a run."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def log(self, run: str, points: Iterable[Point]) -> None:
        """Add metric points ``(name, step, value)``; the same name and step is written over.

        Raises:
            UsageError: CN-METRIC-001, a value is no finite number.
        """
        at = clock.stamp(clock.now())
        rows = [
            {"run": run, "name": name, "step": step, "value": _finite(name, value), "at": at}
            for name, step, value in points
        ]
        if not rows:
            return
        insert = self._database.dialect.insert(metrics)
        with self._database.write() as connection:
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["run", "name", "step"],
                    set_={"value": insert.excluded.value, "at": insert.excluded.at},
                ),
                rows,
            )

    def set(self, run: str, values: Mapping[str, str]) -> None:
        """Set params; a later value replaces an earlier one."""
        rows = [{"run": run, "name": name, "value": value} for name, value in values.items()]
        if not rows:
            return
        insert = self._database.dialect.insert(params)
        with self._database.write() as connection:
            connection.execute(
                insert.on_conflict_do_update(
                    index_elements=["run", "name"], set_={"value": insert.excluded.value}
                ),
                rows,
            )

    def params(self, run: str) -> dict[str, str]:
        """The params of a run by name."""
        query = sa.select(params.c.name, params.c.value).where(params.c.run == run)
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(params.c.name))
            return {row.name: row.value for row in rows}

    def points(self, run: str) -> list[Point]:
        """Every metric point of a run by name and step."""
        query = sa.select(metrics.c.name, metrics.c.step, metrics.c.value)
        query = query.where(metrics.c.run == run).order_by(metrics.c.name, metrics.c.step)
        with self._database.read() as connection:
            return [(row.name, row.step, row.value) for row in connection.execute(query)]

    def digest(self, run: str) -> str:
        """SHA-256 over the canonical JSON of params and points, for the closing entry."""
        points = [list(point) for point in self.points(run)]
        return canonical.digest({"metrics": points, "params": self.params(run)})


def _finite(name: str, value: float) -> float:
    if not math.isfinite(value):
        raise UsageError(
            "CN-METRIC-001",
            f"metric {name} is {value}, expected a finite number",
            "leave the point out: a missing point says the same and can be compared",
        )
    return value
