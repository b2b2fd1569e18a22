"""A table that is made step by step is the table that a whole making would have made."""

from __future__ import annotations

import datetime as dt
from itertools import count
from pathlib import Path

import polars as pl
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from colonnade.data.transform import transform
from colonnade.project import Table
from colonnade.records.ref import Ref
from colonnade.records.table import TableVersion

START = dt.datetime(2013, 1, 1, tzinfo=dt.UTC)
SCHEMA = {"id": pl.Int64, "at": pl.Datetime("us", "UTC"), "x": pl.Int64}
HERE = Path(__file__).parent
NUMBER = count()


def kept(rows: pl.LazyFrame, looked_up: pl.LazyFrame) -> pl.LazyFrame:
    """Some rows stay, with a column of the other input."""
    return rows.filter(pl.col("x") % 3 != 0).join(looked_up, on="x", how="left")


def grouped(rows: pl.LazyFrame, looked_up: pl.LazyFrame) -> pl.LazyFrame:
    """Several rows have one key: the newest counts."""
    return kept(rows, looked_up).with_columns(pl.col("id") % 4)


def daily(rows: pl.LazyFrame, looked_up: pl.LazyFrame) -> pl.LazyFrame:
    """A row a month: all rows of the month are needed."""
    month = pl.col("at").dt.truncate("1mo")
    return kept(rows, looked_up).group_by(month).agg(pl.col("x").sum(), pl.len().cast(pl.Int64))


def declared(source: str, other: str, mode: str, partition: str | None) -> Table:
    function = {"merge": grouped, "append": kept, "merge by id": kept}.get(mode, daily)
    return Table(
        name=f"made{source}",
        function=lambda **frames: function(frames[source], frames[other]),
        inputs=(source, other),
        key=("at",) if function is daily else ("id",),
        time=None if mode == "merge by id" else "at",
        mode=mode.split(maxsplit=1)[0],
        partition=partition,
    )


def frame(batch: dict[int, tuple[int, int]]) -> pl.DataFrame:
    """Rows by id; every row has a time of its own, in a month that it may change."""
    return pl.DataFrame(
        [
            (number, START + dt.timedelta(days=31 * month, seconds=number), x)
            for number, (month, x) in batch.items()
        ],
        schema=SCHEMA,
        orient="row",
    )


def write(session, name, rows, mode):
    with session.writer(name) as held:
        held.write(rows, TableVersion(mode=mode, step="s", key=("id",)), ())


PHASES = (Phase.explicit, Phase.generate)  # a try takes a second: shrinking would take minutes
CELLS = st.tuples(st.integers(0, 3), st.integers(0, 9))
BATCHES = st.lists(
    st.tuples(
        st.dictionaries(st.integers(0, 12), CELLS, max_size=6),
        st.sampled_from(["", "", "compact", "other"]),
    ),
    min_size=2,
    max_size=5,
)


@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("source_mode", "mode", "partition"),
    [
        ("append", "append", None),
        ("merge", "append", None),
        ("append", "merge", None),
        ("merge", "merge", None),
        ("merge", "merge by id", None),
        ("append", "replace", "month"),
        ("merge", "replace", "month"),
    ],
)
@given(batches=BATCHES)
@settings(
    max_examples=4,
    deadline=None,
    phases=PHASES,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_a_step_equals_a_whole_making(session, source_mode, mode, partition, batches):
    number = next(NUMBER)
    source, other = f"rows{number}", f"other{number}"
    table = declared(source, other, mode, partition)
    write(session, other, pl.DataFrame({"x": [0, 1, 2], "y": [5, 6, 7]}), "replace")
    next_id = 0
    for place, (drawn, also) in enumerate(batches):
        batch = drawn
        if source_mode == "append":
            batch = dict(enumerate(drawn.values(), next_id))
            next_id += len(batch)
        write(session, source, frame(batch), source_mode)
        if also == "compact":
            with session.writer(source) as held:
                held.compact()
        if also == "other":
            write(session, other, pl.DataFrame({"x": [1], "y": [place]}), "replace")
        transform(session, table, HERE)
        frames = {name: session.scan(Ref("table", name)) for name in table.inputs}
        whole = table.function(**frames).collect()
        if mode == "merge":
            whole = whole.filter(pl.col("at") == pl.col("at").max().over("id"))
        made = session.scan(Ref("table", table.name)).collect()
        columns = sorted(whole.columns)
        assert sorted(made.select(columns).rows(), key=repr) == sorted(
            whole.select(columns).rows(), key=repr
        )
