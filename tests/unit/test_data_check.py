from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime

import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.data.check import Checked, Known, check
from colonnade.records.contract import Column, Contract, Reference, RowRule

WHAT = "landing/rows.csv"


def contract(*columns: Column, **rules: str) -> Contract:
    named = tuple(RowRule(name=name, sql=sql) for name, sql in rules.items())
    return Contract(name="rows", version="1.0.0", columns=columns, rules=named)


def x(kind: str = "integer", **rules) -> Column:
    return Column(name="x", type=kind, **rules)


def cells(*texts: str | None) -> pl.LazyFrame:
    return pl.LazyFrame({"x": texts}, schema={"x": pl.String})


def refused(frame: pl.LazyFrame, of: Contract) -> UsageError:
    with pytest.raises(UsageError) as caught:
        check(frame, of, WHAT)
    return caught.value


def bad(found: Checked) -> dict[int, list[str]]:
    rows = found.bad.sort("row")
    return dict(zip(rows["row"].to_list(), rows["reasons"].to_list(), strict=True))


def test_a_good_row_comes_out_in_the_types_of_the_contract():
    kinds = {
        "a": ("integer", "7", 7),
        "b": ("number", "2.75", 2.75),
        "c": ("boolean", "true", True),
        "d": ("date", "2013-01-31", date(2013, 1, 31)),
        "e": ("timestamp", "2013-01-31 05:00Z", datetime(2013, 1, 31, 5, tzinfo=UTC)),
        "f": ("string", "", ""),
    }
    frame = pl.LazyFrame({name: [text] for name, (_, text, _) in kinds.items()})
    columns = [Column(name=name, type=kind) for name, (kind, _, _) in kinds.items()]
    found = check(frame, contract(*columns), WHAT)
    assert found.good.row(0) == tuple(value for _, _, value in kinds.values())
    assert found.bad.is_empty()
    assert found.reasons == {}


@pytest.mark.parametrize(
    ("column", "good", "wrong", "rule"),
    [
        (x(), "7", "7.0", "integer"),
        (x(), "-7", "2.75", "integer"),
        (x("number"), "2.75", "NaN", "number"),
        (x("number"), "1e3", "inf", "number"),
        (x("boolean"), "TRUE", "yes", "boolean"),
        (x("date"), "2013-02-28", "2013-02-29", "date"),
        (x("timestamp"), "2013-01-01 00:00", "2013-01-01", "timestamp"),
        (x(required=True), "7", None, "required"),
        (x(minimum=5), "5", "4", "minimum"),
        (x(maximum=5), "5", "6", "maximum"),
        (x("number", minimum=0.5), "0.5", "0.49", "minimum"),
        (x("date", minimum="2013-01-01"), "2013-01-01", "2012-12-31", "minimum"),
        (x("timestamp", maximum="2013-01-01T00:00Z"), "2013-01-01 00:00", "2013-01-02 00:00",
         "maximum"),
        (x("string", min_length=2), "ab", "é", "minLength"),
        (x("string", max_length=2), "éé", "abc", "maxLength"),
        (x("string", pattern="^[A-Z]{2}$"), "AA", "AAA", "pattern"),
        (x("string", enum=("AA", "B6")), "B6", "b6", "enum"),
        (x(enum=(1, 2)), "2", "3", "enum"),
        (x("boolean", enum=(True,)), "1", "0", "enum"),
        (x("date", enum=("2013-01-01",)), "2013-01-01", "2013-01-02", "enum"),
    ],
)  # fmt: skip
def test_a_row_that_breaks_a_rule_is_set_apart_with_the_rule(column, good, wrong, rule):
    found = check(cells(good, wrong), contract(column), WHAT)
    assert found.good.height == 1
    assert bad(found) == {1: [f"x|{rule}"]}
    assert found.reasons == {f"x|{rule}": 1}


def test_all_reasons_of_a_row_are_kept():
    columns = (
        x(minimum=5, enum=(7, 8)),
        Column(name="word", type="string", max_length=2, pattern="^[A-Z]+$"),
        Column(name="must", type="integer", required=True),
    )
    frame = pl.LazyFrame({"x": ["4", "7"], "word": ["abc", "AA"], "must": [None, "1"]})
    found = check(frame, contract(*columns, small="x * 2 > 10"), WHAT)
    expected = ["x|minimum", "x|enum", "word|maxLength", "word|pattern", "must|required",
                "row|small"]  # fmt: skip
    assert sorted(bad(found)[0]) == sorted(expected)
    assert found.reasons == dict.fromkeys(expected, 1)


def test_a_cell_that_cannot_be_read_has_that_reason_alone():
    found = check(cells("seven"), contract(x(required=True, minimum=5, unique=True)), WHAT)
    assert bad(found) == {0: ["x|integer"]}


def test_a_missing_cell_breaks_nothing_but_required():
    rules = {"minimum": 5, "maximum": 9, "enum": (7,), "unique": True}
    found = check(cells(None, "7", None), contract(x(**rules), seven="x = 7"), WHAT)
    assert found.good["x"].to_list() == [None, 7, None]
    texts = {"min_length": 1, "max_length": 2, "pattern": "a", "enum": ("a",)}
    assert check(cells(None), contract(x("string", **texts)), WHAT).bad.is_empty()


def test_every_row_of_a_double_is_bad():
    found = check(cells("1", "2", "1"), contract(x(unique=True)), WHAT)
    assert found.good["x"].to_list() == [2]
    assert bad(found) == {0: ["x|unique"], 2: ["x|unique"]}


def test_a_bad_row_keeps_its_cells_as_they_came():
    frame = pl.LazyFrame({"x": ["7.0"], "y": [None]}, schema={"x": pl.String, "y": pl.String})
    found = check(frame, contract(x(), Column(name="y", type="date")), WHAT)
    assert found.bad["cells"].to_list() == ['{"x":"7.0","y":null}']


def test_a_row_rule_compares_columns():
    frame = pl.LazyFrame({"a": ["1", "3"], "b": ["2", "2"]})
    columns = [Column(name=name, type="integer") for name in "ab"]
    assert bad(check(frame, contract(*columns, order="b > a"), WHAT)) == {1: ["row|order"]}


def test_an_empty_file_has_neither_good_nor_bad_rows():
    found = check(cells(), contract(x(required=True, unique=True)), WHAT)
    assert (found.good.height, found.bad.height) == (0, 0)
    assert found.good.schema == {"x": pl.Int64}
    assert found.bad.columns == ["row", "reasons", "cells"]


def test_a_missing_column_stops_the_file_with_a_hint():
    error = refused(
        pl.LazyFrame({"dep_tme": ["1"]}), contract(Column(name="dep_time", type="date"))
    )
    assert error.code == "CN-CONTRACT-005"
    assert "column dep_time is missing (did you mean 'dep_tme'?)" in error.message
    assert "column dep_tme is not in the contract" in error.message
    assert error.message.startswith(WHAT)


def test_an_undeclared_column_stops_the_file():
    error = refused(pl.LazyFrame({"x": ["1"], "extra": ["1"]}), contract(x()))
    assert error.message == f"{WHAT}: column extra is not in the contract"


@pytest.mark.parametrize("name", ["", "# row", "? x", "*", "^x$"])
def test_a_column_name_that_does_not_name_a_column_is_refused(name):
    error = refused(pl.LazyFrame({name: ["1"]}), contract(Column(name=name, type="integer")))
    assert error.code == "CN-CONTRACT-010"


@pytest.mark.parametrize(
    "name", ["filter", "columns", "__x__", "_y", "a b", "é", "row", "cells", "a|b", "x|integer"]
)
def test_a_column_may_be_called_as_it_likes_otherwise(name):
    found = check(
        pl.LazyFrame({name: ["1", "x"]}), contract(Column(name=name, type="integer")), WHAT
    )
    assert found.good.to_dicts() == [{name: 1}]
    assert bad(found) == {1: [f"{name}|integer"]}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ([7.0], "integer"),
        ([7], "string"),
        ([True], "integer"),
        ([date(2013, 1, 1)], "timestamp"),
        ([datetime(2013, 1, 1, tzinfo=UTC)], "date"),
    ],
)
def test_a_stored_column_of_another_type_stops_the_file(values, kind):
    error = refused(pl.LazyFrame({"x": values}), contract(x(kind)))
    assert error.code == "CN-CONTRACT-006"
    assert "nothing is rounded or guessed" in error.fix


def test_stored_integers_are_taken_as_numbers():
    found = check(pl.LazyFrame({"x": [1, None]}), contract(x("number")), WHAT)
    assert found.good.schema == {"x": pl.Float64}
    assert found.good["x"].to_list() == [1.0, None]


def test_a_stored_number_that_is_not_finite_is_bad():
    found = check(pl.LazyFrame({"x": [1.0, float("nan"), float("inf"), None]}),
                  contract(x("number")), WHAT)  # fmt: skip
    assert bad(found) == {1: ["x|number"], 2: ["x|number"]}
    assert found.good["x"].to_list() == [1.0, None]


def test_a_stored_integer_that_does_not_fit_is_bad():
    frame = pl.LazyFrame({"x": [1, 2**63]}, schema={"x": pl.UInt64})
    assert bad(check(frame, contract(x()), WHAT)) == {1: ["x|integer"]}


def test_stored_words_and_times_come_out_in_the_types_of_the_contract():
    frame = pl.LazyFrame(
        {"word": ["a"], "at": [datetime(2013, 1, 1, 5, tzinfo=UTC)]},
        schema={"word": pl.Categorical(), "at": pl.Datetime("ms", "UTC")},
    )
    columns = (Column(name="word", type="string"), Column(name="at", type="timestamp"))
    found = check(frame, contract(*columns), WHAT)
    assert found.good.row(0) == ("a", datetime(2013, 1, 1, 5, tzinfo=UTC))


@pytest.mark.parametrize("sql", ["no_such > 1", "x +", "x + 1", "x > 'a'"])
def test_a_row_rule_that_cannot_be_evaluated_is_a_mistake_in_the_contract(sql):
    error = refused(cells("1"), contract(x(), rule=sql))
    assert error.code == "CN-CONTRACT-007"
    assert "contract rows" in error.message
    assert "\n" not in error.message


def test_a_pattern_that_is_none_is_a_mistake_in_the_contract():
    assert refused(cells("a"), contract(x("string", pattern="("))).code == "CN-CONTRACT-007"


@pytest.mark.parametrize("rule", [{"minimum": "yesterday"}, {"enum": ("2013-1-1",)}])
def test_a_date_in_the_contract_that_is_none_is_named(rule):
    error = refused(cells("2013-01-01"), contract(x("date", **rule)))
    assert error.code == "CN-CONTRACT-008"
    assert "column x" in error.message


def test_a_file_that_breaks_off_is_not_blamed_on_the_contract(tmp_path):
    path = tmp_path / "rows.csv"
    path.write_bytes(b"x\n1\n\xff\n")
    error = refused(pl.scan_csv(path, infer_schema=False), contract(x()))
    assert error.code == "CN-SOURCE-003"
    assert error.message.startswith(f"{WHAT} cannot be read")


A, B = (Column(name=name, type="integer") for name in "ab")


def pairs(*rows: tuple[str | None, str | None]) -> pl.LazyFrame:
    return pl.LazyFrame(rows, schema={"a": pl.String, "b": pl.String}, orient="row")


def test_a_key_of_several_columns_is_one_key():
    of = replace(contract(A, B), primary_key=("a", "b"), unique=(("b", "a"),))
    found = check(pairs(("1", "1"), ("1", "2"), ("1", "2"), ("1", None), ("1", None)), of, WHAT)
    assert found.good.rows() == [(1, 1), (1, None), (1, None)]
    assert bad(found) == {row: ["a,b|primaryKey", "b,a|unique"] for row in (1, 2)}


def test_a_value_that_is_no_key_of_the_other_table_is_a_reason():
    of = replace(contract(A, B), references=(Reference(columns=("b",), table="t", to=("id",)),))
    known = Known(keys=(pl.LazyFrame({"b": [1, 2, 2, None]}),))
    found = check(
        pairs(("1", "1"), ("2", "3"), ("3", None), ("4", "x"), ("5", "2")), of, WHAT, known
    )
    assert found.good["a"].to_list() == [1, 3, 5]
    assert bad(found) == {1: ["b|reference"], 3: ["b|integer"]}
    none = Known(keys=(pl.LazyFrame(schema={"b": pl.Int64}),))
    assert bad(check(pairs(("1", "1")), of, WHAT, none)) == {0: ["b|reference"]}


def test_two_references_of_a_column_must_both_be_met():
    to = [Reference(columns=("a",), table=table, to=("id",)) for table in ("s", "t")]
    known = Known(keys=tuple(pl.LazyFrame({"a": ids}) for ids in ([1, 2], [2, 3])))
    found = check(pairs(*((str(n), None) for n in (1, 2, 3))), replace(
        contract(A, B), references=tuple(to)), WHAT, known)  # fmt: skip
    assert found.good["a"].to_list() == [2]
    assert found.reasons == {"a|reference": 2}


def test_a_reference_to_the_source_itself_sees_the_keys_of_the_file():
    of = replace(contract(A, B), name="t", references=(
        Reference(columns=("b",), table="t", to=("a",)),))  # fmt: skip
    known = Known(keys=(pl.LazyFrame({"b": [9]}),))
    found = check(pairs(("1", "9"), ("2", "1"), ("3", "4")), of, WHAT, known)
    assert found.good["a"].to_list() == [1, 2]


def test_a_row_rule_that_is_called_like_a_rule_of_a_column_loses_neither():
    of = contract(Column(name="row", type="integer", required=True), required="row > 1")
    frame = pl.LazyFrame({"row": [None, "1", "2"]}, schema={"row": pl.String})
    found = check(frame, of, WHAT)
    assert found.good["row"].to_list() == [2]
    assert list(bad(found)) == [0, 1]


@pytest.mark.parametrize("drift", ["ignore", "add"])
def test_what_the_contract_lets_drift_is_left_out_and_named(drift):
    frame = pairs(("1", "2")).with_columns(c=pl.lit("3"))
    found = check(frame, replace(contract(A, B), drift=drift), WHAT)
    assert (found.good.rows(), found.left_out) == ([(1, 2)], ("c",))


def test_a_file_may_lack_a_column_only_where_that_is_known():
    of = replace(contract(A, B), drift="add")
    frame = pairs(("1", "2")).drop("b")
    assert check(frame, of, WHAT, Known(absent={"b"})).good.rows() == [(1, None)]
    assert refused(frame, of).code == "CN-CONTRACT-005"
