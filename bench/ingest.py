"""Rows a second of ingest beside plain Polars CSV-to-Parquet, in one run, interleaved.

Ingest means: digest the file, read it, check every cell against the contract, split off bad rows,
write a Delta version durably, profile it and append its entry. The limit beside it reads the same
CSV with its types known and writes one Parquet file.

    python bench/ingest.py [--rows 1000000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl

from colonnade.data.ingest import ingest
from colonnade.project import Project
from colonnade.records.table import TableVersion
from colonnade.wiring import create, open_workspace

BAD_SHARE = 0.01


def main() -> None:
    """Measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--repeats", type=int, default=3)
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="colonnade-bench-") as name:
        folder = Path(name)
        landing = folder / "rows.csv"
        _make(landing, chosen.rows)
        limits, ours = [], []
        for repeat in range(chosen.repeats):
            limits.append(_limit(landing, folder / f"limit-{repeat}.parquet"))
            ours.append(_ingest(landing, folder / f"project_{repeat}", chosen.rows))
    limit, took = statistics.median(limits), statistics.median(ours)
    print(f"{chosen.rows:,} rows x 8 columns, {BAD_SHARE:.0%} bad, median of {chosen.repeats}")
    print(f"{'plain Polars CSV to Parquet':<40} {chosen.rows / limit:>12,.0f} rows/s")
    print(f"{'ingest (check, split, write, record)':<40} {chosen.rows / took:>12,.0f} rows/s")
    print(f"ratio {took / limit:.2f}x the time of the limit")


def _make(path: Path, rows: int) -> None:
    chance = np.random.default_rng(7)
    pl.DataFrame(
        {
            "id": np.arange(rows),
            "at": np.datetime64("2013-01-01", "us") + np.arange(rows) * np.timedelta64(1, "s"),
            "carrier": chance.choice(["UA", "AA", "DL", "B6"], rows),
            "origin": chance.choice(["EWR", "JFK", "LGA"], rows),
            "distance": np.where(
                chance.random(rows) < BAD_SHARE, -1, chance.integers(1, 5000, rows)
            ),
            "temp": chance.normal(10, 8, rows).round(2),
            "precip": chance.random(rows).round(3),
            "late": chance.random(rows) < 0.2,
        }
    ).write_csv(path)


_CONTRACT = """apiVersion: v3.1.0
kind: DataContract
id: rows
version: 1.0.0
status: active
schema:
- name: rows
  properties:
  - {name: id, logicalType: integer, required: true}
  - {name: at, logicalType: timestamp, required: true}
  - name: carrier
    logicalType: string
    required: true
    logicalTypeOptions: {pattern: "^[0-9A-Z]{2}$"}
  - {name: origin, logicalType: string, enum: [{value: EWR}, {value: JFK}, {value: LGA}]}
  - {name: distance, logicalType: integer, logicalTypeOptions: {minimum: 1, maximum: 10000}}
  - {name: temp, logicalType: number, logicalTypeOptions: {minimum: -60, maximum: 60}}
  - {name: precip, logicalType: number, logicalTypeOptions: {minimum: 0}}
  - {name: late, logicalType: boolean, required: true}
"""


def _ingest(landing: Path, folder: Path, rows: int) -> float:
    create(folder, "bench", extra='key_file = "root.key"\nheads_file = "heads.jsonl"\n')
    (folder / "contracts").mkdir()
    (folder / "contracts" / "rows.yaml").write_text(_CONTRACT)
    (folder / "landing").mkdir()
    (folder / "landing" / "rows.csv").hardlink_to(landing)
    project = Project("bench")
    source = project.source("rows", "landing/rows.csv")
    with open_workspace(folder) as workspace:
        session = workspace.session("bench")
        start = time.perf_counter()
        found = ingest(session, source, folder)
        took = time.perf_counter() - start
        stored = found.entry.read(TableVersion).rows
    if stored != found.good or found.good + found.bad != rows or not found.bad:
        raise SystemExit(f"wrong: {stored} stored, {found.good} good, {found.bad} bad of {rows}")
    return took


def _limit(landing: Path, target: Path) -> float:
    schema = {
        "id": pl.Int64, "at": pl.String, "carrier": pl.String, "origin": pl.String,
        "distance": pl.Int64, "temp": pl.Float64, "precip": pl.Float64, "late": pl.Boolean,
    }  # fmt: skip
    start = time.perf_counter()
    pl.scan_csv(landing, schema=schema).with_columns(
        pl.col("at").str.to_datetime("%Y-%m-%dT%H:%M:%S%.f", time_unit="us")
    ).sink_parquet(target)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
