"""What a file's columns are good for: each decision and each refusal, on columns made for it."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.lifecycle.starter import Wishes, outline

N = 400
RANDOM = np.random.default_rng(7)
X = RANDOM.normal(size=N).round(3)
BASE = {
    "order id": [f"A{number:04d}" for number in range(N)],
    "at": [str(date(2024, 1, 1) + timedelta(days=number // 2)) for number in range(N)],
    "amount": X.tolist(),
    "country": RANDOM.choice(["NL", "DE", "FR"], N).tolist(),
    "bought": np.where(X > 0, "yes", "no").tolist(),
}


def frame(**columns: list[object] | None) -> pl.LazyFrame:
    """The base with columns changed, added, or (None) left out; cells as texts, as in a CSV."""
    found = {name: values for name, values in (BASE | columns).items() if values is not None}
    return pl.DataFrame(found, strict=False).with_columns(pl.all().cast(pl.String)).lazy()


def decided(label: str = "bought", **columns: list[object] | None):
    return outline("some.csv", frame(**columns), Wishes(label=label))


def refused(label: str, said: str, code: str = "CN-INIT-002", **columns: list[object] | None):
    with pytest.raises(UsageError, match=code) as error:
        decided(label, **columns)
    assert said in error.value.message
    assert error.value.fix


def test_key_time_label_and_features_are_found():
    found = decided()
    assert (found.key, found.time, found.task) == (("order id",), "at", "binary")
    assert found.classes == ("no", "yes")
    assert list(found.features) == ["amount", "country"]
    assert found.left_out == {}
    assert (found.rows, found.unlabelled, found.untimed, found.rare) == (N, 0, 0, ())


def test_the_example_is_of_no_single_row():
    found = decided(odd=[f"word {number % 50}" for number in range(N)])
    assert found.features["amount"] == float(f"{np.median(X):.4g}")
    words, counts = np.unique(BASE["country"], return_counts=True)
    assert found.features["country"] == words[counts.argmax()]
    assert found.features["odd"] is None  # no word stands for ten rows


def test_what_the_user_said_is_taken():
    wishes = Wishes(label="bought", key=("order id", "country"), time="at")
    found = outline("some.csv", frame(), wishes)
    assert (found.key, found.time) == (("order id", "country"), "at")
    assert list(found.features) == ["amount"]


def test_a_file_without_time_or_key_says_so():
    found = decided(at=None, **{"order id": None})
    assert (found.key, found.time) == ((), None)
    assert "no column is different in every row" in found.why_key
    assert "no column holds dates" in found.why_time


def test_of_several_dates_none_is_guessed():
    found = decided(paid=BASE["at"])
    assert found.time is None
    assert "at, paid" in found.why_time
    assert {"at", "paid"} <= set(found.left_out)


def test_a_time_with_gaps_is_taken_only_when_it_is_named():
    gaps = [None, *BASE["at"][1:]]
    assert decided(at=gaps).time is None
    found = outline("some.csv", frame(at=gaps), Wishes(label="bought", time="at"))
    assert (found.time, found.untimed) == ("at", 1)


def test_a_time_that_cannot_split_is_not_taken():
    same = ["2024-01-01"] * (N - 2) + ["2024-01-02"] * 2
    assert "the same in nearly every row" in decided(at=same).why_time
    late = ["no"] * (N - 60) + ["yes"] * 60
    assert "only come in the newest rows" in decided(bought=late).why_time


@pytest.mark.parametrize(
    ("name", "values", "why"),
    [
        ("", [None] * N, "empty in every row"),
        ("", ["a"] * N, "the same in every row"),
        ("rownames", list(range(1, N + 1)), "only counts the rows"),
        ("customerId", [number % 50 for number in range(N)], "an id names a thing"),
        ("E-Mail", [f"p{number}@example.org" for number in range(N)], "personal data"),
        ("", [f"{number},50" for number in range(N)], "decimal comma"),
        ("", [f"{1 + number % 28}.1.2024" for number in range(N)], "in another way"),
        ("", [f"word {number % 150}" for number in range(N)], "too many for a category"),
        ("", [f"{'a long remark ' * 5}{number}" for number in range(N)], "free text"),
    ],
)
def test_a_column_that_is_no_feature_is_left_out_with_the_reason(name, values, why):
    found = decided(**{name or "other": values})
    assert why in found.left_out[name or "other"]
    assert list(found.features) == ["amount", "country"]


@pytest.mark.parametrize(
    ("values", "task", "classes", "cast"),
    [
        (["true", "false"] * (N // 2), "binary", ("false", "true"), None),
        ([0, 1] * (N // 2), "binary", ("0", "1"), None),
        (["0.0", "1.0"] * (N // 2), "binary", ("0", "1"), "Int64"),
        ([1, 2, 3, 4] * (N // 4), "multiclass", ("1", "2", "3", "4"), None),
        (X.tolist(), "regression", (), None),
        ([number * 7 % 391 for number in range(N)], "regression", (), None),
    ],
)
def test_the_label_decides_the_task(values, task, classes, cast):
    found = decided(bought=values)
    assert (found.task, found.classes, found.cast) == (task, classes, cast)
    assert (found.base is None) == (task == "regression")


def test_whole_numbers_with_few_rows_each_are_values():
    few = {name: values[:60] for name, values in BASE.items()}
    few["bought"] = [number % 15 for number in range(60)]
    rows = pl.DataFrame(few).with_columns(pl.all().cast(pl.String)).lazy()
    found = outline("few.csv", rows, Wishes(label="bought"))
    assert (found.task, found.cast) == ("regression", "Float64")


def test_classes_of_few_rows_are_left_out_and_named():
    found = decided(bought=[*BASE["bought"][:-5], *["maybe"] * 5])
    assert (found.rare, found.classes) == (("maybe",), ("no", "yes"))


def test_rows_without_a_label_are_counted():
    assert decided(bought=[None, *BASE["bought"][1:]]).unlabelled == 1


def test_a_label_that_cannot_be_predicted_is_refused_with_the_reason():
    refused("bought", "only 0 rows have one", bought=[None] * N)
    refused("bought", "only 19 rows have one", bought=["a", *["b"] * 18, *[None] * (N - 19)])
    refused("bought", "the same value", bought=["yes"] * N)
    refused("bought", "free text", bought=[f"{'words ' * 9}{n // 2}" for n in range(N)])
    refused(
        "bought", "too many different values", bought=[f"w{number // 2}" for number in range(N)]
    )
    refused("bought", "different in every one of 400 rows", bought=[f"w{n}" for n in range(N)])
    refused("bought", "only counts the rows", bought=list(range(5, N + 5)))
    refused("bought", "decimal comma", bought=[f"{number},5" for number in range(N)])
    refused("bought", "at least 10 rows of a second one", bought=["a"] * (N - 4) + ["b"] * 4)
    refused("at", "it holds dates")


def test_a_column_that_is_not_there_is_named_with_the_closest():
    with pytest.raises(UsageError, match="CN-INIT-001") as error:
        decided("bougth")
    assert "'bougth'" in error.value.message
    assert "'bought'" in error.value.fix


@pytest.mark.parametrize(
    ("wishes", "why"),
    [
        ({"key": ("country",)}, "is not unique: 3 of 400 rows"),
        ({"key": ("amount",)}, "fractions"),
        ({"key": ("gap",)}, "is missing in 1 rows"),
        ({"time": "country"}, "holds no dates"),
        ({"time": "same"}, "no row is earlier"),
    ],
)
def test_a_key_or_time_that_cannot_be_one_is_refused(wishes, why):
    rows = frame(gap=[None, *range(1, N)], same=["2024-01-01"] * N)
    with pytest.raises(UsageError, match="CN-INIT-004") as error:
        outline("some.csv", rows, Wishes(label="bought", **wishes))
    assert why in error.value.message


def test_a_label_that_is_its_own_key_is_refused():
    with pytest.raises(UsageError, match="CN-INIT-002"):
        outline("some.csv", frame(), Wishes(label="bought", key=("bought",)))


def test_a_file_without_any_feature_is_refused_with_the_reasons():
    refused(
        "bought", "country: the same in every row", "CN-INIT-003", amount=None, country=["a"] * N
    )
    refused("bought", "no other column", "CN-INIT-003", amount=None, country=None)


def test_names_that_differ_only_in_case_are_refused_before_anything_is_written():
    with pytest.raises(UsageError, match="CN-TABLE-008"):
        decided(Amount=BASE["amount"])


def test_na_among_numbers_is_missing_and_among_words_a_word():
    gaps = ["NA", *map(str, BASE["amount"][1:])]
    found = decided(amount=gaps, country=["NA", "DE", "NA", "FR", "DE"] * (N // 5))
    assert found.features["amount"] is not None
    assert found.features["country"] == "DE"  # the file says NA for what is missing
    assert decided(country=["NA"] * 300 + ["DE"] * 100).features["country"] == "NA"


def test_parquet_types_are_taken_as_they_are():
    rows = pl.DataFrame(BASE).with_columns(
        pl.col("at").str.to_date(), pl.col("country").cast(pl.Categorical)
    )
    found = outline("some.parquet", rows.lazy(), Wishes(label="bought"))
    assert (found.time, list(found.features)) == ("at", ["amount", "country"])
