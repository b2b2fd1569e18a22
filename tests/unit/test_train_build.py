from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from colonnade.base import clock
from colonnade.base.errors import UsageError, VerdictError
from colonnade.project import Model, Project
from colonnade.records.model import Feature, Field
from colonnade.train.build import (
    Snapshot,
    TrainingSet,
    check_classes,
    labels,
    matrix,
    parts,
    signature,
    split,
)

START = datetime(2013, 1, 1, tzinfo=UTC)
KEY = (Field(name="id", kind="integer"),)


def model(*features: str, label: str = "y") -> Model:
    project = Project("p")

    @project.model(label=label, features=features or ("x",))
    def risk(table): ...

    return project.models["risk"]


def times(*hours: int) -> list[datetime]:
    return [START + timedelta(hours=hour) for hour in hours]


def snapshot(at: list | None, time: str | None = "at", **columns: list) -> Snapshot:
    height = len(at or next(iter(columns.values())))
    rows = pl.DataFrame({"id": range(height), **({"at": at} if at else {}), **columns})
    return Snapshot(rows, KEY, time if at else None)


def test_the_newest_share_of_the_rows_judges():
    found = snapshot(times(*range(10)))
    where = split(found, 0.3, 0, None)
    assert (where.rows, where.earlier, where.newest) == (10, 7, 3)
    assert where.newest_from == clock.stamp(START + timedelta(hours=7))
    assert where.newest_until == clock.stamp(START + timedelta(hours=9))
    assert where.rule == "the newest 30% of the rows by at"
    earlier, newest = parts(found, where, 0)
    assert earlier["at"].max() < newest["at"].min()


def test_rows_of_one_moment_are_on_one_side_of_the_boundary():
    found = snapshot(times(0, 1, 2, 3, 4, 4, 4, 4, 4, 9))
    where = split(found, 0.2, 0, None)
    assert (where.earlier, where.newest) == (4, 6)
    earlier, newest = parts(found, where, 0)
    assert set(earlier["at"]).isdisjoint(newest["at"])
    assert earlier.height + newest.height == 10


@pytest.mark.parametrize("hours", [[5] * 10, [5] * 9 + [6]])
def test_rows_without_an_earlier_part_are_refused(hours):
    with pytest.raises(VerdictError) as caught:
        split(snapshot(times(*hours)), 0.2, 0, None)
    assert caught.value.code == "CN-TRAIN-006"


def test_beside_a_champion_the_newest_half_of_what_it_has_not_seen_judges():
    found = snapshot(times(*range(100)))
    where = split(found, 0.2, 0, clock.stamp(START + timedelta(hours=89)))
    assert (where.earlier, where.newest) == (95, 5)
    assert where.rule == "the newest half of the 10 rows that the champion has not seen"


def test_beside_a_champion_never_more_than_the_holdout_judges():
    found = snapshot(times(*range(100)))
    where = split(found, 0.2, 0, clock.stamp(START + timedelta(hours=19)))
    assert (where.earlier, where.newest) == (80, 20)
    assert where.rule == "the newest 20% of the rows by at"


def test_a_champion_that_has_seen_every_row_leaves_the_holdout_as_it_is():
    found = snapshot(times(*range(100)))
    where = split(found, 0.2, 0, clock.stamp(START + timedelta(hours=99)))
    assert (where.earlier, where.newest) == (80, 20)


@pytest.mark.parametrize("kind", [pl.Date(), pl.Datetime("ms"), pl.Datetime("us", "UTC")])
def test_every_type_of_time_can_be_compared_with_what_the_champion_saw(kind):
    days = [date(2013, 1, 1) + timedelta(days=n) for n in range(100)]
    found = snapshot(pl.Series(days).cast(kind).to_list())
    found = Snapshot(found.rows.with_columns(pl.col("at").cast(kind)), KEY, "at")
    where = split(found, 0.2, 0, "2013-03-31T00:00:00.000000Z")
    assert where.earlier + where.newest == 100
    assert where.newest == 5
    assert where.newest_until == "2013-04-10T00:00:00.000000Z"


def test_without_a_time_the_split_is_random_and_the_same_for_one_seed():
    found = snapshot(None, x=list(range(100)))
    where = split(found, 0.2, 7, None)
    assert (where.earlier, where.newest, where.newest_from) == (80, 20, None)
    assert where.rule == "20% of the rows at random, seed 7"
    first, again, other = (parts(found, where, seed) for seed in (7, 7, 8))
    assert first[1].equals(again[1])
    assert not first[1].equals(other[1])
    assert set(first[0]["x"]).isdisjoint(first[1]["x"])
    assert {*first[0]["x"], *first[1]["x"]} == {*range(100)}


def test_a_holdout_of_nearly_all_leaves_a_row_to_learn_from():
    where = split(snapshot(None, x=list(range(20))), 0.99, 0, None)
    assert (where.earlier, where.newest) == (1, 19)


def test_the_order_has_a_digest_of_its_keys():
    at = times(*range(20))
    first = split(snapshot(at, x=[0] * 20), 0.2, 0, None).order
    assert split(snapshot(at, x=[1] * 20), 0.2, 0, None).order == first
    turned = Snapshot(snapshot(at).rows.with_columns(pl.col("id").reverse()), KEY, "at")
    assert split(turned, 0.2, 0, None).order != first
    keyless = Snapshot(snapshot(at, x=[1] * 20).rows.drop("id"), (), "at")
    assert split(keyless, 0.2, 0, None).order != first


def test_categories_are_in_the_order_of_their_frequency_and_then_of_their_names():
    words = ["b", "a", "c", "c", "d", None, ""]
    found = snapshot(times(*range(7)), w=words, y=[True, False] * 3 + [True])
    feature = signature(found, found.rows, model("w")).features[0]
    assert feature == Feature(name="w", kind="category", categories=("c", "a", "b", "d"))


def test_features_have_the_kinds_and_ranges_of_the_rows_they_are_learnt_from():
    found = snapshot(
        times(*range(4)),
        number=[0.5, None, float("nan"), 2.5],
        whole=[3, 1, 2, 9],
        flag=[True, None, False, True],
        nothing=pl.Series([None] * 4, dtype=pl.Float64),
        y=[True, False, True, False],
    )
    wanted = model("number", "whole", "flag", "nothing")
    assert signature(found, found.rows[:3], wanted).features == (
        Feature(name="number", kind="number", low=0.5, high=0.5),
        Feature(name="whole", kind="integer", low=1.0, high=3.0),
        Feature(name="flag", kind="flag", low=0.0, high=1.0),
        Feature(name="nothing", kind="number"),
    )


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        ([True, False, True], "binary", ("false", "true")),
        (["b", "a", "b"], "binary", ("a", "b")),
        (["b", "a", "c"], "multiclass", ("a", "b", "c")),
        ([2, 10, 2], "binary", ("2", "10")),
        ([0, 1, 2], "multiclass", ("0", "1", "2")),
        (list(range(21)), "regression", ()),
        ([0.5, 1.5, 0.5], "regression", ()),
    ],
)
def test_the_task_follows_from_the_label(values, task, classes):
    found = snapshot(times(*range(len(values))), x=[0.0] * len(values), y=values)
    of = signature(found, found.rows, model())
    assert (of.task, of.classes, of.key, of.time) == (task, classes, KEY, "at")
    numbers = labels(found.rows, of, "y")
    expected = values if task == "regression" else [classes.index(str(v).lower()) for v in values]
    assert numbers.tolist() == expected


def test_a_label_with_one_class_is_a_verdict():
    found = snapshot(times(0, 1), x=[0.0, 1.0], y=[True, True])
    with pytest.raises(VerdictError, match="every row has the same label") as caught:
        signature(found, found.rows, model())
    assert caught.value.code == "CN-TRAIN-004"


def test_a_class_that_only_the_newest_rows_have_is_a_verdict():
    found = snapshot(times(*range(4)), x=[0.0] * 4, y=["a", "b", "a", "c"])
    of = signature(found, found.rows, model())
    check_classes(found.rows, of, model())
    with pytest.raises(VerdictError, match="none of the 3 earlier rows has the label c") as caught:
        check_classes(found.rows[:3], of, model())
    assert caught.value.code == "CN-TRAIN-004"


@pytest.mark.parametrize("column", [[START] * 2, [[1], [2]], [timedelta(1)] * 2])
def test_a_column_that_is_no_feature_is_named(column):
    found = snapshot(times(0, 1), odd=column, y=[True, False])
    with pytest.raises(UsageError, match="the column odd has the type") as caught:
        signature(found, found.rows, model("odd"))
    assert caught.value.code == "CN-TRAIN-002"


def test_a_label_that_is_none_is_named():
    found = snapshot(times(0, 1), x=[0.0, 1.0], y=[START, START])
    with pytest.raises(UsageError, match="the label y has the type") as caught:
        signature(found, found.rows, model())
    assert caught.value.code == "CN-TRAIN-002"


def test_the_matrix_holds_codes_flags_and_nan():
    found = snapshot(
        times(*range(4)),
        x=[1, None, 3, 4],
        w=["b", "a", "b", None],
        f=[True, False, None, True],
        y=[True, False] * 2,
    )
    of = signature(found, found.rows[:3], model("x", "w", "f"))
    x = matrix(found.rows.with_columns(w=pl.Series(["b", "a", "new", None])), of)
    assert x.dtype == np.float32
    assert x.flags.c_contiguous
    nan = np.nan
    np.testing.assert_array_equal(x, [[1, 0, 1], [nan, 1, 0], [3, nan, nan], [4, nan, 1]])


def test_a_training_set_says_which_columns_hold_categories():
    found = snapshot(times(*range(4)), x=[1, 2, 3, 4], w=list("abab"), y=[True, False] * 2)
    of = signature(found, found.rows, model("x", "w"))
    made = TrainingSet(found.rows, of, "y", 7)
    assert (made.features, made.categories, made.classes) == (("x", "w"), (1,), ("false", "true"))
    assert (len(made), made.seed, made.y.dtype, made.X.shape) == (4, 7, np.int64, (4, 2))
