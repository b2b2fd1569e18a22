from __future__ import annotations

import io
import json

import polars as pl
import pytest

from colonnade.records import cell
from colonnade.store import jsonlines
from colonnade.store.lines import LineError

TYPES = {"i": "integer", "n": "number", "b": "boolean", "s": "string", "d": "date"}


def read(*lines: str, types=TYPES):
    return jsonlines.read(io.BytesIO("\n".join(lines).encode()), types)


def test_members_are_read_as_they_are_written():
    found = read('{"i": 7, "n": 1e3, "b": true, "s": "é\\n", "d": "2013-01-31"}', '{"n": -0.5}')
    rows = found.rows.collect()
    assert rows.schema == dict.fromkeys(TYPES, pl.String)
    assert rows.rows() == [("7", "1e3", "true", "é\n", "2013-01-31"), (None, "-0.5", *[None] * 3)]
    assert found.places.to_list() == [0, 1]
    assert found.spoiled.is_empty()


@pytest.mark.parametrize(
    ("line", "reasons"),
    [
        ('{"i": "7"}', ["i|integer"]),
        ('{"s": 7}', ["s|string"]),
        ('{"b": 1}', ["b|boolean"]),
        ('{"n": [1]}', ["n|number"]),
        ('{"d": 20130131}', ["d|date"]),
        ('{"i": {}, "s": false}', ["i|integer", "s|string"]),
    ],
)
def test_another_kind_than_the_contracts_spoils_the_row(line, reasons):
    found = read('{"i": 1}', line, '{"i": 2}')
    assert found.places.to_list() == [0, 2]
    assert found.spoiled.rows() == [(1, reasons, json.dumps({cell.OBJECT: line}))]


@pytest.mark.parametrize(
    "line",
    ["[1]", "7", '{"i": 1', '{"i": 1} {}', '{"i": NaN}', '{"i": 1, "i": 2}', "{'i': 1}",
     '{"s": "\\ud800"}', '{"i": 01}', '{"s": ":", "s": ""}', "null"],
)  # fmt: skip
def test_a_line_that_is_no_object_that_names_each_member_once_is_malformed(line):
    found = read(line, '{"i": 2}')
    assert found.spoiled["reasons"].to_list() == [[cell.MALFORMED]]
    assert json.loads(found.spoiled["cells"][0]) == {cell.LINE: line}
    assert found.places.to_list() == [1]


def test_colons_in_texts_are_no_second_members():
    line = '{"s": "a:b", "i:j": {"k": "::"}}'
    assert cell.members(line.encode()) == {
        "s": ("text", "a:b"),
        "i:j": ("nested", '{"k":"::"}'),
    }
    assert cell.members(b'{"\\u0069": 1}') == {"i": ("number", "1")}
    assert cell.members(b'{"\\u0069": 1, "i": 1}') is None


def test_bytes_that_are_no_text_and_empty_lines():
    found = jsonlines.read(io.BytesIO(b'\xef\xbb\xbf{"i": 1}\r\n\n  \n{"s": "\xff"}\n'), TYPES)
    assert found.places.to_list() == [0]
    assert found.spoiled["row"].to_list() == [3]
    assert cell.BYTES in found.spoiled["cells"][0]


def test_a_member_that_nobody_declared_is_a_column_more():
    assert "z" in read('{"z": 1}').rows.collect_schema()


def guess(*lines: str, **options):
    return jsonlines.guess(io.BytesIO("\n".join(lines).encode()), **options).collect()


def test_without_a_contract_a_column_has_the_type_of_all_its_members():
    found = guess('{"i": 1, "n": 1, "b": true, "s": "x"}', '{"n": 0.5, "z": null}')
    assert found.schema == {
        "i": pl.Int64, "n": pl.Float64, "b": pl.Boolean, "s": pl.String, "z": pl.String,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        (['{"i": 1}', '{"i": "1"}'], "'i' holds numbers and texts"),
        (['{"i": {"j": 1}}'], "'i' holds an object or a list"),
        (['{"i": 1}', "x"], "line 2 is no JSON object"),
    ],
)
def test_without_a_contract_several_kinds_are_not_guessed(lines, said):
    with pytest.raises(LineError, match=said):
        guess(*lines)


def test_a_malformed_line_is_passed_over_where_that_is_asked_for():
    assert guess('{"i": 1}', "x", tolerant=True)["i"].to_list() == [1]
