from __future__ import annotations

from datetime import date

import dataframely as dy
import polars as pl
import pytest

from colonnade.base.errors import UsageError
from colonnade.data.check import Known, check
from colonnade.data.schema import contract_of
from colonnade.records import canonical
from colonnade.records.contract import Column, Contract


class ShopOrders(dy.Schema):
    """Orders of the
    web shop."""

    order = dy.Int64(primary_key=True, nullable=False)
    place = dy.UInt8(primary_key=True, nullable=False, min=1)
    amount = dy.Float64(nullable=True, min=0, max_exclusive=100)
    state = dy.Enum(["new", "paid"], nullable=False)
    code = dy.String(nullable=True, regex="^[A-Z]+$", max_length=2, unique=True)
    due = dy.Date(nullable=True, min=date(2013, 1, 1))
    note = dy.String(nullable=True, check=lambda cell: cell != "x", alias="a note")
    size = dy.Int32(nullable=True, is_in=[1, 2])
    open = dy.Bool(nullable=True)

    @dy.rule()
    def paid_has_amount(self) -> pl.Expr:
        return (pl.col("state") != "paid") | self.amount.col.is_not_null()


def stated() -> Contract:
    return contract_of("orders", ShopOrders).contract


def test_what_a_contract_has_a_word_for_becomes_that_word():
    found = stated()
    assert found.columns == (
        Column(name="order", type="integer", required=True),
        Column(name="place", type="integer", required=True, minimum=1, maximum=255),
        Column(name="amount", type="number", minimum=0),
        Column(name="state", type="string", required=True, enum=("new", "paid")),
        Column(name="code", type="string", pattern="^[A-Z]+$", unique=True),
        Column(name="due", type="date", minimum="2013-01-01"),
        Column(name="a note", type="string"),
        Column(name="size", type="integer", minimum=-(2**31), maximum=2**31 - 1, enum=(1, 2)),
        Column(name="open", type="boolean"),
    )
    assert (found.primary_key, found.purpose) == (("order", "place"), "Orders of the web shop.")
    assert canonical.plain(found)


def test_every_other_rule_stays_code_and_is_named():
    names = [rule.name for rule in stated().coded]
    assert sorted(names) == [
        "a note|check",
        "amount|max_exclusive",
        "code|max_length",
        "row|paid_has_amount",
    ]
    assert stated() == stated()  # the same words each time: no address of this process


def test_rows_are_checked_as_the_class_says():
    class_ = contract_of("orders", ShopOrders)
    names = [column.name for column in class_.contract.columns]
    good = ["1", "1", "9.5", "new", "AB", "2013-01-01", "y", "1", "true"]
    rows = [
        good,
        ["1", "2", "100", "new", "ABC", None, None, None, None],
        ["1", "3", None, "paid", "C", "2012-12-31", "x", "3", None],
        ["1", "300", None, "old", None, None, None, None, None],
        ["2", "1", None, "new", None, None, None, None, None],
        ["2", "1", None, "new", None, None, None, None, None],
    ]
    frame = pl.LazyFrame(rows, schema=dict.fromkeys(names, pl.String), orient="row")
    found = check(frame, class_.contract, "f.csv", Known(coded=class_.coded))
    assert found.good.height == 1
    bad = dict(zip(found.bad["row"], map(sorted, found.bad["reasons"].to_list()), strict=True))
    assert bad == {
        1: ["amount|max_exclusive", "code|max_length"],
        2: ["a note|check", "due|minimum", "row|paid_has_amount", "size|enum"],
        3: ["place|maximum", "state|enum"],
        4: ["order,place|primaryKey"],
        5: ["order,place|primaryKey"],
    }


def test_dataframely_agrees():
    frame = pl.DataFrame(
        {
            "order": [1, 1, 2], "place": [1, 1, 1], "amount": [1.0, 2.0, None],
            "state": ["new", "new", "paid"], "code": ["A", "B", "CCC"], "due": [None] * 3,
            "a note": [None, None, "x"], "size": [None, 1, 3], "open": [None] * 3,
        }
    )  # fmt: skip
    class_ = contract_of("orders", ShopOrders)
    found = check(frame.cast({"due": pl.Date, "open": pl.Boolean}).lazy(), class_.contract, "f",
                  Known(coded=class_.coded))  # fmt: skip
    _, failure = ShopOrders.filter(frame, cast=True)
    assert found.bad.height == len(failure) == 3


def test_code_that_is_not_at_hand_is_not_passed_over():
    with pytest.raises(UsageError, match="is code of the project, which is not at hand") as caught:
        check(pl.LazyFrame({"x": [1]}), Contract(
            name="rows", version="1", columns=(Column(name="x", type="integer"),),
            coded=stated().coded[:1]), "f")  # fmt: skip
    assert caught.value.code == "CN-CONTRACT-007"


class Odd(dy.Schema):
    x = dy.Decimal(nullable=True)


class Broken(dy.Schema):
    x = dy.Int64(nullable=True)

    @dy.rule()
    def fails(self) -> pl.Expr:
        raise KeyError


class Flat(dy.Schema):
    x = dy.Int64(nullable=True)

    @dy.rule()
    def flat(self) -> pl.Expr:
        return True


class Empty(dy.Schema):
    pass


@pytest.mark.parametrize(
    ("schema", "code", "what"),
    [
        (int, "CN-CONTRACT-014", "expected a class of dataframely.Schema"),
        ("x", "CN-CONTRACT-014", "contract is 'x', expected a class"),
        (Odd, "CN-CONTRACT-004", "column x of source orders has the type Decimal"),
        (Broken, "CN-CONTRACT-014", "its rule fails raises KeyError"),
        (Flat, "CN-CONTRACT-014", "its rule flat gives no expression"),
        (Empty, "CN-CONTRACT-014", "Empty has no column"),
    ],
)
def test_a_class_that_states_no_contract_is_refused(schema, code, what):
    with pytest.raises(UsageError) as caught:
        contract_of("orders", schema)
    assert caught.value.code == code
    assert what in caught.value.message


class Personal(dy.Schema):
    mail = dy.String(nullable=True, metadata={"classification": "personal"})


def test_a_column_that_is_called_personal_is_personal():
    (column,) = contract_of("orders", Personal).contract.columns
    assert column.personal
