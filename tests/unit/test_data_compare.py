from __future__ import annotations

from dataclasses import replace

import pytest

from colonnade.data.compare import breaks, compare
from colonnade.records.contract import (
    BatchRule,
    Column,
    Contract,
    Freshness,
    Reference,
    RowRule,
)

PLAIN = Column(name="x", type="integer")
WORD = Column(name="w", type="string")
COUNT = BatchRule(name="count", metric="rowCount", operator="mustBe", values=(1.0,))
AGE = Freshness(column="x", within_s=60)
TO = Reference(columns=("x",), table="planes", to=("id",))


def contract(*columns: Column, **parts) -> Contract:
    return Contract(name="rows", version="1", columns=columns or (PLAIN, WORD), **parts)


def told(before: Contract, after: Contract) -> list[tuple[str, str | None, str]]:
    return [(change.kind, change.column, change.words) for change in compare(before, after)]


def test_a_contract_is_not_changed_by_words_about_it():
    assert told(contract(), replace(contract(), version="9", document="other")) == []


@pytest.mark.parametrize(
    ("old", "new", "kind", "words"),
    [
        ({}, {"type": "number"}, "breaking", "the type was integer, is number"),
        ({}, {"required": True}, "breaking", "may not be missing any more"),
        ({"required": True}, {}, "breaking", "may be missing now"),
        ({}, {"unique": True}, "breaking", "no two rows may have the same value any more"),
        ({"unique": True}, {}, "breaking", "rows may have the same value now"),
        ({}, {"minimum": 1}, "breaking", "the minimum was none, is 1"),
        ({"minimum": 1}, {"minimum": 2}, "breaking", "the minimum was 1, is 2"),
        ({"minimum": 2}, {"minimum": 1}, "additive", "the minimum was 2, is 1"),
        ({"minimum": 0}, {}, "additive", "the minimum was 0, is none"),
        ({"maximum": 2}, {"maximum": 1}, "breaking", "the maximum was 2, is 1"),
        ({"maximum": 1}, {"maximum": 2}, "additive", "the maximum was 1, is 2"),
        ({}, {"enum": (1, 2)}, "breaking", "only 2 values are allowed now"),
        ({"enum": (1, 2)}, {"enum": (2,)}, "breaking", "not allowed any more: 1"),
        ({"enum": (1,)}, {"enum": (1, 2)}, "additive", "allowed now: 2"),
        ({"enum": (1,)}, {}, "additive", "any value is allowed now"),
        ({}, {"personal": True}, "breaking", "is personal data now"),
        ({"personal": True}, {}, "additive", "is no personal data now"),
        ({}, {"classification": "internal"}, "additive", "the classification was none, is in"),
    ],
)
def test_a_change_of_a_column_is_breaking_or_additive(old, new, kind, words):
    before = contract(replace(PLAIN, **old))
    ((found, column, said),) = told(before, contract(replace(PLAIN, **new)))
    assert (found, column) == (kind, "x")
    assert said.startswith(words)
    assert told(before, before) == []


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ({}, {"pattern": "a"}, "breaking"),
        ({"pattern": "a"}, {"pattern": "b"}, "breaking"),
        ({"pattern": "a"}, {}, "additive"),
        ({"min_length": 1}, {"min_length": 2}, "breaking"),
        ({"min_length": 2}, {"min_length": 1}, "additive"),
        ({"max_length": 2}, {"max_length": 1}, "breaking"),
        ({"max_length": 1}, {"max_length": 2}, "additive"),
    ],
)
def test_a_change_of_a_text_is_breaking_or_additive(old, new, kind):
    before, after = (contract(replace(WORD, **fields)) for fields in (old, new))
    assert [change[:2] for change in told(before, after)] == [(kind, "w")]


def test_columns_that_come_and_go():
    must = Column(name="must", type="date", required=True)
    may = Column(name="may", type="date")
    assert told(contract(PLAIN, WORD), contract(PLAIN, must, may)) == [
        ("breaking", "w", "the column is gone (it was string)"),
        ("breaking", "must", "a new date that must not be missing"),
        ("additive", "may", "a new date, may be missing"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "kind"),
    [
        ({}, {"primary_key": ("x",)}, "breaking"),
        ({"primary_key": ("x", "w")}, {"primary_key": ("w", "x")}, "breaking"),
        ({}, {"unique": (("x", "w"),)}, "breaking"),
        ({"unique": (("x", "w"),)}, {}, "breaking"),
        ({}, {"references": (TO,)}, "breaking"),
        ({"references": (TO,)}, {}, "breaking"),
        ({}, {"rules": (RowRule(name="r", sql="x > 1"),)}, "breaking"),
        ({"rules": (RowRule(name="r", sql="x > 1"),)}, {}, "additive"),
        (
            {"rules": (RowRule(name="r", sql="x > 1"),)},
            {"rules": (RowRule(name="r", sql="x > 0"),)},
            "breaking",
        ),
        ({}, {"missing": ("NA",)}, "breaking"),
        ({"missing": ("NA",)}, {}, "breaking"),
        ({"stop_above": 0.1}, {"stop_above": 0.2}, "additive"),
        ({"stop_above": 0.2}, {"stop_above": 0.1}, "breaking"),
        ({"drift": "add"}, {"drift": "ignore"}, "breaking"),
        ({"drift": "stop"}, {"drift": "add"}, "additive"),
        ({}, {"batch": (COUNT,)}, "breaking"),
        ({}, {"batch": (replace(COUNT, severity="warn"),)}, "additive"),
        ({"batch": (COUNT,)}, {"batch": (replace(COUNT, values=(2.0,)),)}, "breaking"),
        ({"batch": (COUNT,)}, {}, "additive"),
        ({}, {"freshness": (AGE,)}, "breaking"),
        ({"freshness": (AGE,)}, {}, "additive"),
        ({}, {"owner": "desk"}, "additive"),
        ({}, {"purpose": "returns"}, "additive"),
        ({}, {"subject": "x"}, "additive"),
        ({}, {"retention_d": 10}, "breaking"),
        ({"retention_d": 10}, {"retention_d": 20}, "additive"),
        ({"retention_d": 10}, {}, "additive"),
    ],
)
def test_a_change_of_the_whole_contract_is_breaking_or_additive(old, new, kind):
    changes = compare(contract(**old), contract(**new))
    assert [change.kind for change in changes] == [kind]
    assert breaks(changes) == (kind == "breaking")
