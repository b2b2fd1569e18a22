"""A point-in-time join of many feature columns, beside the bare as-of join of the engine.

Sizes as in a report of the field that ran out of memory (feast#3003): 1,000 feature columns,
17,000 rows of facts, 17,000 examples. Each repeat is a process of its own, so that its peak of
memory is its own. What is measured is also compared with the definition, row by row.

    python bench/features.py [--rows 17000] [--columns 1000] [--repeats 3]
"""

from __future__ import annotations

import argparse
import resource
import statistics
import subprocess
import sys
import time

import numpy as np
import polars as pl

import colonnade as co

KEYS = 500


def main() -> None:
    """Measure and print the table."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--rows", type=int, default=17_000)
    options.add_argument("--columns", type=int, default=1_000)
    options.add_argument("--repeats", type=int, default=3)
    options.add_argument("--one", choices=("limit", "ours"))
    chosen = options.parse_args()
    if chosen.one:
        print(*_one(chosen.one, chosen.rows, chosen.columns))
        return
    found: dict[str, list[tuple[float, float]]] = {"limit": [], "ours": []}
    for _ in range(chosen.repeats):
        for name, results in found.items():
            words = ["--one", name, "--rows", str(chosen.rows), "--columns", str(chosen.columns)]
            said = subprocess.check_output([sys.executable, __file__, *words], text=True)
            seconds, peak = map(float, said.split())
            results.append((seconds, peak))
    print(f"{chosen.columns:,} feature columns x {chosen.rows:,} rows, median of {chosen.repeats}")
    for name, label in (("limit", "polars join_asof, times only"), ("ours", "co.as_of, known too")):
        seconds, peak = (statistics.median(values) for values in zip(*found[name], strict=True))
        print(f"{label:<32} {seconds:>8.2f} s {peak:>8,.0f} MB peak of the process")


def _one(name: str, rows: int, columns: int) -> tuple[float, float]:
    chance = np.random.default_rng(3)
    minutes = chance.permutation(rows * 4)[:rows]
    facts = pl.DataFrame(
        {
            "key": chance.integers(0, KEYS, rows),
            "at": pl.Series(minutes * 60, dtype=pl.Int64),
            "known": pl.Series((minutes + chance.integers(0, 300, rows)) * 60, dtype=pl.Int64),
            **{f"feature_{number}": chance.random(rows) for number in range(columns)},
        }
    ).with_columns(pl.from_epoch("at"), pl.from_epoch("known"))
    examples = pl.DataFrame(
        {
            "key": chance.integers(0, KEYS, rows),
            "at": pl.Series(chance.integers(0, rows * 4, rows) * 60, dtype=pl.Int64),
        }
    ).with_columns(pl.from_epoch("at"))
    began = time.perf_counter()
    if name == "limit":
        joined = examples.sort("at").join_asof(
            facts.sort("at"), on="at", by="key", check_sortedness=False
        )
        took = time.perf_counter() - began
    else:
        joined = co.as_of(examples, facts, by="key", time="at", known="known").collect()
        took = time.perf_counter() - began
        _check(joined, examples, facts)
    assert joined.shape[0] == rows
    return took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3


def _check(joined: pl.DataFrame, examples: pl.DataFrame, facts: pl.DataFrame) -> None:
    """A hundred rows, from the definition."""
    narrow = facts.select("key", "at", "known", "feature_0")
    for place in range(0, examples.height, max(1, examples.height // 100)):
        key, at = examples.row(place)
        seen = narrow.filter(key=key).filter(pl.max_horizontal("at", "known") <= at)
        expected = seen.sort("at", "known")["feature_0"].last() if seen.height else None
        assert joined["feature_0"][place] == expected, place


if __name__ == "__main__":
    main()
