"""Point-in-time joins: what was true of a thing, and known, at the moment of each example.

A fact has a moment from which it is true (`time`) and, where that differs, one at which it came
to be known (`known`). An example may only see facts whose both moments are not behind its own:
everything else is the future, and a model that learnt from it would be worse in production than
in its test. Of the facts that it may see the one with the newest `time` counts, so a correction
takes the place of what it corrects from the moment it is known, and a fact that arrives late does
not take the place of a newer one.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from typing import Final

import polars as pl

from colonnade.base.errors import UsageError
from colonnade.base.text import closest

_MOMENT: Final = pl.Datetime("us", "UTC")


def as_of(
    examples: pl.LazyFrame | pl.DataFrame,
    facts: pl.LazyFrame | pl.DataFrame,
    *,
    by: str | Sequence[str],
    time: str | tuple[str, str],
    known: str | None = None,
    max_age: timedelta | None = None,
) -> pl.LazyFrame:
    """Add to each example the newest fact that it could have known.

    Both frames are collected once; beside them only keys and moments are held twice.

    Args:
        examples: rows to complete; each stays, once, in its place.
        facts: what was true of a key from a moment on.
        by: the column or columns, in both frames, that name the thing.
        time: the moment, in both frames; a pair where they call it differently
            (of the examples, of the facts).
        known: the facts' column of the moment at which they came to be known; without it they
            are known from `time` on.
        max_age: a fact whose `time` is longer ago counts as none.

    Returns:
        The examples with the facts' other columns (their time too, where it has a name of its
        own); null where there is no fact.

    Raises:
        UsageError: CN-FEATURE-001, a column is missing, has another type or would be there
            twice; CN-FEATURE-002, facts about one key have the same moments.

    >>> flights = pl.DataFrame({"plane": ["N1", "N1"], "at": [3, 9]})
    >>> states = pl.DataFrame({"plane": ["N1", "N1"], "at": [1, 5], "seats": [100, 120]})
    >>> moment = pl.from_epoch("at", time_unit="s")
    >>> as_of(flights.with_columns(moment), states.with_columns(moment), by="plane", time="at",
    ...       ).collect()["seats"].to_list()
    [100, 120]
    """
    left, right = examples.lazy().collect(), facts.lazy().collect()
    keys = [by] if isinstance(by, str) else list(by)
    at, since = (time, time) if isinstance(time, str) else time
    _check(left, "the examples", [*keys, at])
    _check(right, "the facts", [*keys, since, *([known] if known else [])])
    added = [name for name in right.columns if name not in keys and (name, name) != (at, since)]
    for name in added:
        if name in left.columns:
            raise _wrong(f"column {name!r} is in the examples and in the facts", "rename one")
    for name in keys:
        if left[name].dtype != right[name].dtype:
            found = f"{name!r} is {left[name].dtype} in the examples, {right[name].dtype} in"
            raise _wrong(f"column {found} the facts", "cast one of them")
    narrow = moments(right, keys, since, known)
    wanted = left.select(*keys, _moment(left, at).alias("# at"))
    return left.hstack(
        right.select(pl.col(added).gather(_newest(wanted, narrow, keys, max_age)))
    ).lazy()


def _newest(
    wanted: pl.DataFrame, facts: pl.DataFrame, keys: list[str], max_age: timedelta | None
) -> pl.Series:
    """For each wanted key and moment the place of its fact, null where there is none.

    The running maximum of the rank, in the order in which facts came to be seen, is the newest of
    what was seen so far: a late one is no step.
    """
    ranked = rank(facts, keys)
    seen = steps(ranked, keys).sort("# seen")
    found = (
        wanted.with_row_index("# row")
        .sort("# at")
        .join_asof(seen, left_on="# at", right_on="# seen", by=keys, check_sortedness=False)
        .join(ranked.select("# rank", "# place", "# time"), on="# rank", how="left")
        .sort("# row")
    )
    place = pl.col("# place")
    if max_age is not None:
        place = pl.when(pl.col("# at") - pl.col("# time") <= max_age).then(place)
    return found.select(place).to_series()


def moments(facts: pl.DataFrame, keys: list[str], time: str, known: str | None) -> pl.DataFrame:
    """Keys and moments of facts, in their order: `# time`, `# known`, and `# seen` from when on.

    Raises:
        UsageError: CN-FEATURE-001, a column holds no moments; CN-FEATURE-002, doubles.
    """
    since, told = _moment(facts, time), _moment(facts, known or time)
    narrow = facts.select(
        *keys,
        since.alias("# time"),
        told.alias("# known"),
        pl.max_horizontal(since, told).alias("# seen"),
    )
    _check_doubles(narrow, keys)
    return narrow


def rank(narrow: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """Facts by what they are about, the older first: `# rank`, and `# place` where they were."""
    return (
        narrow.with_row_index("# place")
        .drop_nulls([*keys, "# time", "# known"])
        .sort("# time", "# known")
        .with_row_index("# rank")
    )


def steps(ranked: pl.DataFrame, keys: list[str]) -> pl.DataFrame:
    """For each key and moment at which something came to be seen: the newest fact from then on."""
    return (
        ranked.sort("# seen", maintain_order=True)
        .select(*keys, "# seen", pl.col("# rank").cum_max().over(keys))
        .group_by(*keys, "# seen")
        .agg(pl.col("# rank").max())
    )


def _check(frame: pl.DataFrame, what: str, columns: list[str]) -> None:
    for name in columns:
        if name not in frame.columns:
            raise _wrong(f"{what} have no column {name!r}", closest(name, frame.columns))


def _moment(frame: pl.DataFrame, name: str) -> pl.Expr:
    """A column of times as instants; without a zone they are UTC."""
    dtype = frame[name].dtype
    if dtype == pl.Date:
        return pl.col(name).cast(_MOMENT)
    if not isinstance(dtype, pl.Datetime):
        raise _wrong(f"column {name!r} is {dtype}, expected a date or a time", "cast it")
    if dtype.time_zone is None:
        return pl.col(name).cast(pl.Datetime("us")).dt.replace_time_zone("UTC")
    return pl.col(name).cast(pl.Datetime("us", dtype.time_zone)).dt.convert_time_zone("UTC")


def _check_doubles(facts: pl.DataFrame, keys: list[str]) -> None:
    what = pl.struct(*keys, "# time", "# known")
    if twice := facts.drop_nulls().select(what.is_duplicated().sum()).item():
        raise UsageError(
            "CN-FEATURE-002",
            f"{twice} facts have the same {', '.join(keys)} and the same moments as another, so "
            "none of them is the newest",
            "leave doubles out (unique()), or say with known= which came to be known later",
        )


def _wrong(found: str, fix: str) -> UsageError:
    return UsageError("CN-FEATURE-001", f"as_of: {found}", fix)
