"""Will a flight out of New York arrive more than 15 minutes late?

The table is the schedule with the weather, the aircraft and, where it is known, the outcome. A
feature is what is known before departure; the only thing that comes from afterwards is the label.
"""

from __future__ import annotations

import polars as pl
from lightgbm import LGBMClassifier

import colonnade as co

project = co.Project("flights")
project.source("flights", "landing/flights-*.csv", schedule="on arrival")
project.source("outcomes", "landing/outcomes-*.csv", schedule="on arrival")
project.source("weather", "landing/weather-*.csv", schedule="on arrival")
project.source("planes", "landing/planes.csv")

KEY = ["departs_at", "carrier", "flight"]
ROUTE = ["carrier", "origin", "dest", "distance"]
SCHEDULE = ["minute_of_day", "weekday", "scheduled_min", "departures_in_hour"]
PLANE = ["plane_age", "seats"]
WEATHER = ["temp", "humid", "wind_dir", "wind_speed", "precip", "pressure", "visib"]
FEATURES = [*ROUTE, *SCHEDULE, *PLANE, *WEATHER]


@project.table(key=KEY, time="departs_at")
def departures(
    flights: pl.LazyFrame, weather: pl.LazyFrame, planes: pl.LazyFrame, outcomes: pl.LazyFrame
) -> pl.LazyFrame:
    """One row a flight; ``late`` is missing until the outcome is known, and if it never flew."""
    leaves, lands = minutes("sched_dep_time"), minutes("sched_arr_time")
    known = flights.with_columns(
        minute_of_day=leaves,
        weekday=pl.col("date").dt.weekday().cast(pl.Int64),
        scheduled_min=(lands - leaves) % (24 * 60),  # each end by the clock of its own airport
        departures_in_hour=pl.len().over("origin", "departs_at").cast(pl.Int64),
    )
    aircraft = planes.select("tailnum", "seats", built="year")
    observed = weather.select("origin", *WEATHER, departs_at="time_hour")
    return (
        known.join(aircraft, on="tailnum", how="left")
        .with_columns(plane_age=pl.col("date").dt.year().cast(pl.Int64) - pl.col("built"))
        .join(observed, on=["origin", "departs_at"], how="left")
        .join(outcomes.select(*KEY, "late"), on=KEY, how="left")
        .select(*dict.fromkeys([*KEY, "tailnum", *FEATURES, "late"]))
    )


@project.model(
    label="late",
    features=FEATURES,
    gates=["auc >= 0.60", "auc > champion", "auc >= 0.55 by carrier", "p99_ms <= 5"],
    seed=2013,
)
def late_departure(departures: co.TrainingSet) -> LGBMClassifier:
    """The chance that the flight arrives more than 15 minutes late."""
    model = LGBMClassifier(
        n_estimators=100,
        learning_rate=0.05,
        num_leaves=63,
        min_child_samples=100,
        subsample=0.8,
        subsample_freq=1,
        colsample_bytree=0.6,
        random_state=departures.seed,
        n_jobs=1,
        deterministic=True,
        force_row_wise=True,
        verbose=-1,
    )
    return model.fit(departures.X, departures.y)


project.deploy(late_departure, retrain="auc < 0.70 or drift")


def minutes(clock: str) -> pl.Expr:
    """Minutes since midnight from a clock written as a number: 517 is 5:17."""
    return pl.col(clock) // 100 * 60 + pl.col(clock) % 100
