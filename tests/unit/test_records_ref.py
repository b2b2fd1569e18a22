from __future__ import annotations

import pytest

from colonnade.base.errors import UsageError
from colonnade.records.ref import KINDS, Ref, parse


@pytest.mark.parametrize(
    "text", ["table/flights", "table/flights@3", "table/predictions.late@12", "file/ab/c@1"]
)
def test_a_reference_reads_back(text):
    assert str(parse(text)) == text


def test_the_short_form_leaves_the_kind_out():
    assert Ref("model", "late", 3).short == "late@3"
    assert Ref("model", "late").short == "late"


@pytest.mark.parametrize(
    "text",
    ["", "table", "table/", "table/a@", "table/a@0", "table/a@-1", "table/a@01", "table/a@1.5",
     "table/a b", "table/a@1@2", "Table/a", "tables/a", "table/a\n", "/a", "table/a@x"],
)  # fmt: skip
def test_what_names_nothing_is_refused(text):
    with pytest.raises(UsageError, match="CN-REF-001"):
        parse(text)


def test_the_refusal_names_the_kinds():
    with pytest.raises(UsageError) as refused:
        parse("tabel/flights")
    assert all(kind in refused.value.fix for kind in KINDS)
